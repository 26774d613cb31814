// Behind common.js, in one script.
const state = { about: null, scene: null, next: {}, pictures: [], metadata: {}, asking: null };

async function get(path) {
  const reply = await fetch(path);
  const found = await reply.json();
  if (!reply.ok) throw new Error(found.error.message);
  return found;
}
function say(text, wrong) {
  $("state").textContent = text;
  $("state").className = wrong ? "error" : "quiet";
}

// ---- The question
const option = (text, value) => make("option", { value: value === undefined ? text : value }, text);
function chooseTask() {
  const task = state.about.tasks[$("task").value], domains = Object.entries(task.domains);
  $("prompt").replaceChildren(...task.prompts.map((name) => option(name)));
  const [first, prompt] = state.about.first;
  if ($("task").value === first && task.prompts.includes(prompt)) $("prompt").value = prompt;
  else if (task.prompts.includes("cot")) $("prompt").value = "cot";
  $("domain").replaceChildren(...domains.map(([name, title]) => option(title, name)));
  $("ofdomain").hidden = $("scene").hidden = !domains.length;
  if (domains.length) return nextScene();
  setPictures([], null);
}
async function nextScene() {
  const task = $("task").value, domain = $("domain").value, key = `${task} ${domain}`;
  const index = state.next[key] || 0;
  try {
    const found = await get(`scene?task=${encodeURIComponent(task)}&domain=${encodeURIComponent(domain)}&index=${index}`);
    state.next[key] = index + 1;
    if (task !== $("task").value || domain !== $("domain").value) return; // chosen another one meanwhile
    $("question").value = found.problem;
    $("answer").value = found.answer;
    state.metadata = found.metadata;
    setPictures(found.pictures, { domain, index });
    say("");
  } catch (error) { say(error.message, true); }
}
function setPictures(urls, scene) {
  state.pictures = urls;
  state.scene = scene;
  $("pictures").replaceChildren(...urls.map((url, k) => {
    const remove = make("button", { type: "button", title: "leave this picture out" }, "×");
    remove.addEventListener("click", (event) => { event.stopPropagation(); setPictures(urls.filter((_, other) => other !== k), null); });
    return make("span", {}, make("img", { src: url, alt: `picture ${k + 1}` }), remove);
  }));
}
async function addFiles(files) {
  const read = (file) => new Promise((good, bad) => {
    const reader = Object.assign(new FileReader(), { onload: () => good(reader.result), onerror: () => bad(reader.error) });
    reader.readAsDataURL(file);
  });
  const own = [...files].filter((file) => file.type.startsWith("image/"));
  if (!own.length) return;
  const urls = await Promise.all(own.map(read)), others = state.scene ? [] : state.pictures;
  if (state.scene) { $("question").value = ""; $("answer").value = ""; } // they were about the scene
  setPictures([...others, ...urls], null);
}

// ---- The answers
function sizeOf(url) {
  return new Promise((good) => {
    const image = Object.assign(new Image(), { onload: () => good([image.naturalWidth, image.naturalHeight]), onerror: () => good([1, 1]), src: url });
  });
}
async function pictured(urls, head) { // what pictureOf draws on
  const sizes = await Promise.all(urls.map(sizeOf));
  const { sample } = state.about.tasks[head.task];
  const group = { id: "the question", answer: head.answer, metadata: head.metadata };
  const places = Object.entries(head.metadata).some(([name, value]) => name !== "size" && value !== null && value.length);
  if (sample && !places && sizes.length) { // no place is known: as the task writes its coordinates elsewhere
    const { size, ...known } = sample.metadata, gold = shapes(Object.values(known), [1, 1]);
    group.scale = scaleOf(sample.answer, gold).map((x, k) => (x / size[k]) * sizes[0][k]);
    group.corners = hasBox(gold);
    group.metadata = { ...head.metadata, gold: shapes(saidIn(head.answer, group.corners), group.scale.map((x, k) => (x * (head.metadata.size || sizes[0])[k]) / sizes[0][k])) };
  }
  return { group, pictures: urls.map((url, k) => ({ url, width: sizes[k][0], height: sizes[k][1] })), drawn: Boolean(sample) };
}
function mark(shown, texts) {
  $("marked").replaceChildren(...shown.pictures.map((picture, k) => pictureOf(picture, shown.group, k, shown.drawn ? texts : [])));
}
async function ask() {
  const { length } = state.pictures, body = {
    task: $("task").value, prompt: $("prompt").value, question: $("question").value, answer: $("answer").value,
    pictures: state.scene ? [] : state.pictures, scene: state.scene, samples: Number($("samples").value),
    temperature: Number($("temperature").value), top_p: Number($("top_p").value), length: Number($("length").value),
    seed: $("seed").value === "" ? null : Number($("seed").value),
  };
  if (!body.question.trim() && !length) return say("write a question, or take an example scene", true);
  const urls = [...state.pictures], stop = new AbortController();
  state.asking = stop;
  $("ask").disabled = !($("stop").disabled = false);
  say("the first answer of a new size is compiled first");
  try {
    const reply = await fetch("ask", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: stop.signal });
    if (!reply.ok) throw new Error((await reply.json()).error.message);
    await show(reply, body.task, urls);
    say("");
  } catch (error) {
    say(error.name === "AbortError" ? "stopped" : error.message, error.name !== "AbortError");
  }
  state.asking = null;
  $("ask").disabled = !($("stop").disabled = true);
}
async function* lines(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n");
    text = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}
async function show(reply, task, urls) {
  let shown = null;
  const answers = [];
  const redraw = () => mark(shown, answers.filter((one) => one.end).map((one) => one.text));
  for await (const event of lines(reply)) {
    if (event.error) throw new Error(event.error.message);
    if (event.prompt !== undefined) {
      shown = await pictured(urls, { ...event, task });
      $("empty").hidden = !($("shown").hidden = false);
      $("prompted").textContent = event.prompt;
      $("gold").textContent = event.answer ? `Gold answer: ${event.answer}` : "No gold answer, so no rewards.";
      $("summary").textContent = `${event.tokens} tokens of prompt and pictures`;
      for (let g = 0; g < event.samples; g++) {
        const said = make("div", { class: "text" }), head = make("div");
        answers.push({ text: "", said, head, card: make("div", { class: "completion", tabIndex: 0 }, head, said), end: null });
      }
      $("completions").replaceChildren(...answers.map((one) => one.card));
      redraw();
    } else if (event.text !== undefined) {
      say("");
      const one = answers[event.g];
      one.text += event.text;
      one.said.textContent = one.text;
    } else if (event.g !== undefined) {
      const one = answers[event.g];
      one.end = { ...event, advantage: null };
      drawHead(one);
      redraw();
    } else if (event.advantages) {
      event.advantages.forEach((advantage, g) => { answers[g].end.advantage = advantage; drawHead(answers[g]); });
      $("completions").replaceChildren(...[...answers].sort((a, b) => (b.end.reward ?? -Infinity) - (a.end.reward ?? -Infinity)).map((one) => one.card));
      const rewards = answers.map((one) => one.end.reward).filter((x) => x !== null);
      const mean = rewards.reduce((sum, x) => sum + x, 0) / rewards.length;
      const spread = new Set(rewards).size > 1 ? "" : " Equal rewards: this group would teach nothing.";
      $("summary").textContent += `; mean reward ${number(mean)} of ${rewards.length} answers.${spread}`;
    }
  }
}
function drawHead(one) {
  const { reward, rewards, ...rest } = one.end;
  const chip = chips({ reward, rewards, ...rest });
  if (reward === null && !Object.keys(rewards).length) chip.firstChild.remove(); // no gold answer
  one.head.replaceChildren(chip);
}

// ---- What is pressed
$("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("stop").addEventListener("click", () => state.asking && state.asking.abort());
$("task").addEventListener("change", chooseTask);
$("domain").addEventListener("change", nextScene);
$("scene").addEventListener("click", nextScene);
for (const id of ["question", "answer"]) $(id).addEventListener("input", () => { state.scene = null; });
$("drop").addEventListener("click", () => $("file").click());
$("drop").addEventListener("keydown", (event) => { if (event.target === $("drop") && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); $("file").click(); } });
$("file").addEventListener("change", () => { addFiles($("file").files); $("file").value = ""; });
for (const name of ["dragover", "dragleave", "drop"]) $("drop").addEventListener(name, (event) => {
  event.preventDefault();
  $("drop").classList.toggle("over", name === "dragover");
  if (name === "drop") addFiles(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => addFiles(event.clipboardData.files));
(async () => {
  try {
    state.about = await get("tasks");
    $("name").textContent = state.about.name;
    document.title = `Ask ${state.about.name}`;
    $("task").append(...Object.keys(state.about.tasks).map((name) => option(name.replaceAll("_", " "), name)));
    $("task").value = state.about.first[0];
    $("samples").max = state.about.most;
    $("samples").value = Math.min(8, state.about.most);
    $("length").value = state.about.length;
    await chooseTask();
  } catch (error) { say(error.message, true); }
})();
