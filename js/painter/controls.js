// The settings of tool, brush and overlay, and the controls that show and set them.
import { alphaAt, HIGHEST_DETAIL, position } from "./colours.js";
import { turn } from "./wheel.js";

const same = (value) => value;
const percent = (part) => `${Math.round(100 * part)} %`;
const PART = { at: same, place: same, show: percent, nudged: (part, steps) => part + 0.05 * steps };
// Of every slider: the value at a place of it and the place of a value, the value in words, and the value some steps on.
const SLIDERS = {
  detail: {
    at: alphaAt, place: position, show: String, nudged: (alpha, steps) => alphaAt(Math.max(0, position(alpha) + 0.02 * steps)),
  },
  size: { at: same, place: same, show: (size) => `${(200 * size).toFixed(1)} %`, nudged: (size, steps) => size * 1.1 ** steps },
  hardness: PART,
  opacity: PART,
};

export class Controls {
  #rest = 0; // of a notch that wheels have turned

  /** `settings` are read from here and kept there; presets are factors of `ground`; `brushChanged` is called when the cursor looks another way. */
  constructor(document, settings, ground, brushChanged) {
    Object.assign(this, { document, settings, brushChanged });
    this.tools = [...document.querySelectorAll("[name=tool]")];
    this.presets = [...document.querySelectorAll("[data-factor]")];
    for (const button of this.presets) offer(button, ground);
    for (const name of Object.keys(SLIDERS)) this.#start(name);
    for (const radio of this.tools) radio.addEventListener("change", () => this.choose(radio.value));
    for (const button of this.presets) button.addEventListener("click", () => this.#preset(Number(button.value)));
    this.choose(settings.tool);
  }

  #start(name) {
    const input = this.#input(name);
    input.addEventListener("input", () => this.set(name, SLIDERS[name].at(input.valueAsNumber)));
    input.addEventListener("wheel", (event) => (event.preventDefault(), this.nudgeByWheel(name, event)), { passive: false });
    this.set(name, this.settings[name]);
  }

  #input(name) {
    return this.document.getElementById(name);
  }

  choose(tool) {
    this.settings.tool = tool;
    this.tools.find((radio) => radio.value === tool).checked = true;
    this.brushChanged();
  }

  set(name, value) {
    const input = this.#input(name);
    input.value = SLIDERS[name].place(value); // which the slider keeps within its ends and to its steps
    const between = name === "detail"; // an α may lie between the slider's steps
    this.settings[name] = between ? Math.min(HIGHEST_DETAIL, Math.max(0, value)) : input.valueAsNumber;
    this.#show(name, input);
  }

  #show(name, input) {
    const value = this.settings[name];
    const words = SLIDERS[name].show(value);
    this.document.getElementById(`${name}-value`).textContent = words;
    input.setAttribute("aria-valuetext", words);
    if (name === "detail")
      for (const button of this.presets) button.setAttribute("aria-pressed", Number(button.value) === value);
    if (name === "size") this.brushChanged();
    if (name === "opacity") this.document.getElementById("overlay").style.opacity = value;
  }

  #preset(detail) {
    this.set("detail", detail);
    if (this.settings.tool === "eraser") this.choose("brush");
  }

  /** Move a slider by steps, up or down. */
  nudge(name, steps) {
    this.set(name, SLIDERS[name].nudged(this.settings[name], steps));
  }

  /** Move a slider by a step for every notch of a wheel. */
  nudgeByWheel(name, event) {
    this.#rest += turn(event);
    const whole = Math.trunc(this.#rest);
    this.#rest -= whole;
    this.nudge(name, whole);
  }
}

/** Let a preset's button mean the detail that is its factor times the ground's, up to its own limit, if that is another. */
function offer(button, ground) {
  const [wished, most] = [Math.round(100 * button.dataset.factor * ground) / 100, Number(button.dataset.most ?? HIGHEST_DETAIL)];
  button.value = Math.min(most, wished);
  button.querySelector("small span").hidden = wished > most;
  button.disabled = Number(button.value) === ground;
  button.querySelector("output").textContent = button.value;
}
