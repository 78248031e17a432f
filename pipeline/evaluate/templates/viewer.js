"use strict";
for (const volume of document.querySelectorAll(".volume")) {
  const slider = volume.querySelector("input[type=range]");
  const stack = volume.querySelector(".stack");
  const told = volume.querySelector("output");
  const show = () => {
    stack.style.setProperty("--slice", slider.value - 1);
    told.value = `${slider.value} of ${slider.max}`;
    slider.setAttribute("aria-valuetext", told.value);
  };
  slider.addEventListener("input", show);
  stack.addEventListener("click", () => slider.focus());
  stack.addEventListener("wheel", (event) => {
    const before = slider.value;
    slider.value = Number(before) + Math.sign(event.deltaY);
    if (slider.value !== before) {
      event.preventDefault();
      show();
    }
  }, { passive: false });
  show();
}
