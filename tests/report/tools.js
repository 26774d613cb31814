const wait = async (test) => { for (let k = 0; k < 200 && !test(); k++) await new Promise((go) => setTimeout(go, 20)); };
const set = (id, value) => { const e = document.getElementById(id); if (e.type === "checkbox") e.checked = value;
  else e.value = value; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change")); };
const texts = (query) => [...document.querySelectorAll(query)].map((e) => e.textContent);
const ink = () => [...document.querySelectorAll(".plot > *")].filter((e) => e.shadowRoot || e.querySelector("canvas")).length;
