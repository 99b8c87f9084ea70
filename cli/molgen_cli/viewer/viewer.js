"use strict";
(() => {
  const LOOKS = {
    "balls and sticks": { stick: { radius: 0.12 }, sphere: { scale: 0.24 } },
    sticks: { stick: { radius: 0.16 } },
    "space filling": { sphere: {} },
    lines: { line: {} },
  };
  const find = (name) => document.getElementById(name);
  const items = JSON.parse(find("items").textContent);
  const [list, space, caption, look, spin] = ["list", "space", "caption", "look", "spin"].map(find);
  let viewer = null;
  let current = 0;

  const draw = () => {
    if (!viewer) return;
    viewer.removeAllModels();
    viewer.addModel(items[current].text, "sdf", { keepH: true });
    viewer.setStyle({}, LOOKS[look.value]);
    viewer.zoomTo();
    viewer.render();
  };

  const show = (place) => {
    list.children[current].removeAttribute("aria-current");
    current = (place + items.length) % items.length;
    list.children[current].setAttribute("aria-current", "true");
    list.children[current].scrollIntoView({ block: "nearest" });
    caption.textContent = items[current].caption;
    draw();
  };

  items.forEach((item, place) => {
    const button = document.createElement("button");
    button.textContent = item.name;
    button.addEventListener("click", () => show(place));
    list.append(button);
  });
  Object.keys(LOOKS).forEach((name) => look.append(new Option(name)));
  look.addEventListener("change", draw);
  spin.addEventListener("change", () => viewer && viewer.spin(spin.checked));
  document.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step && event.target !== look) {
      event.preventDefault();
      show(current + step);
    }
  });

  try {
    viewer = $3Dmol.createViewer(space, { backgroundColor: "white" });
  } catch (error) {
    viewer = null;
  }
  if (!viewer) space.textContent = "This browser cannot draw in space: it lacks WebGL, or has it turned off.";
  show(0);
})();
