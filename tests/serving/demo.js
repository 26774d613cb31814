// What a person would do with the demo; the body of an async function.
const until = async (test) => { for (let k = 0; k < 9000 && !test(); k++) await new Promise((go) => setTimeout(go, 20)); };
const idle = () => until(() => !document.getElementById("ask").disabled);
const count = (query) => document.querySelectorAll(query).length;
await until(() => count("#pictures img") === 1);
const found = { title: document.title, question: document.getElementById("question").value };
set("samples", 4);
set("seed", 3);
set("temperature", 1.5);
document.getElementById("ask").click();
await until(() => texts(".completion .text").join("").length > 0);
found.early = texts(".completion .text").join("").length; // it streams: this is seen before the ends
await idle();
found.texts = texts(".completion .text");
found.chips = texts(".completion:first-child .chip");
found.rewards = texts(".completion .chip:first-child").map((text) => Number(text.split(" ")[1]));
found.gold = texts("#gold")[0];
found.summary = texts("#summary")[0];
// A place to point to: the gold box is drawn, and what was said where it can be read.
document.getElementById("task").value = "reasoning_grounding";
document.getElementById("task").dispatchEvent(new Event("change"));
await until(() => document.getElementById("question").value.startsWith("Where"));
set("length", 24);
document.getElementById("ask").click();
await until(() => document.getElementById("ask").disabled);
await idle();
found.boxes = count("#marked rect.gold");
// A picture of one's own, dropped: no gold answer, no rewards.
const bytes = Uint8Array.from(atob("PNG"), (c) => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "mine.png", { type: "image/png" }));
document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
await until(() => document.getElementById("question").value === "");
document.getElementById("question").value = "Where is the <b>cube</b>?";
document.getElementById("ask").click();
await until(() => document.getElementById("ask").disabled);
await idle();
found.own = { answers: count(".completion"), chips: texts(".completion:first-child .chip"), gold: texts("#gold")[0], bold: count("#shown b"), boxes: count("#marked rect") };
// A mistake is one line.
document.getElementById("answer").value = "no box";
document.getElementById("ask").click();
await until(() => texts("#state")[0].startsWith("the gold"));
found.mistake = texts("#state")[0];
found.width = document.documentElement.scrollWidth;
const paper = () => getComputedStyle(document.body).backgroundColor;
found.light = paper();
document.getElementById("theme").click();
found.dark = paper();
return found;
