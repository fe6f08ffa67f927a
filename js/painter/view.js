// Where the picture lies on the stage and how large: zoom and pan, and the way between the picture's places and the screen's.

const LEAST = 0.02;
const MOST = 64;
const MARGIN = 16; // px around a picture that fits
const REACH = [-1.5, 2.5]; // how far outside of the picture one can draw: what the format allows

export class View {
  x = 0; // px of the sheet's corner on the stage
  y = 0;
  scale = 1;
  fitted = true; // whether the whole picture is shown, also when the window changes

  /** `sheet` bears the picture, `size` [width, height] px, on the `stage`; `moved` is called whenever the view has changed. */
  constructor(stage, sheet, size, moved) {
    Object.assign(this, { stage, sheet, size, moved });
    [sheet.style.width, sheet.style.height] = size.map((side) => `${side}px`);
  }

  #look(x, y, scale) {
    Object.assign(this, { x, y, scale });
    this.sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    this.moved();
  }

  /** Show the whole picture. */
  fit() {
    const [width, height] = this.size;
    const { clientWidth, clientHeight } = this.stage;
    const whole = Math.min((clientWidth - 2 * MARGIN) / width, (clientHeight - 2 * MARGIN) / height);
    const scale = Math.max(LEAST, whole);
    this.fitted = true;
    this.#look((clientWidth - width * scale) / 2, (clientHeight - height * scale) / 2, scale);
  }

  /** Zoom about a place of the stage. */
  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(MOST, Math.max(LEAST, this.scale * factor));
    const grown = scale / this.scale;
    this.fitted = false;
    this.#look(x - (x - this.x) * grown, y - (y - this.y) * grown, scale);
  }

  /** Move the picture by px of the screen. */
  move(dx, dy) {
    this.#look(this.x + dx, this.y + dy, this.scale);
  }

  /** Move the picture so far that a point of it is in sight. */
  reveal(point) {
    const [x, y] = this.onStage(point);
    const beyond = (at, end) => Math.min(0, at) + Math.max(0, at - end);
    this.move(-beyond(x, this.stage.clientWidth), -beyond(y, this.stage.clientHeight));
  }

  /** [x, y, pressure] on the picture, 0 … 1, of a pointer. */
  point(event) {
    const box = this.sheet.getBoundingClientRect();
    const pressure = event.pointerType === "pen" && event.pressure ? event.pressure : 1;
    const near = (part) => Math.min(REACH[1], Math.max(REACH[0], part));
    return [near((event.clientX - box.left) / box.width), near((event.clientY - box.top) / box.height), pressure];
  }

  /** px on the stage of a point of the picture. */
  onStage([x, y]) {
    return [this.x + x * this.size[0] * this.scale, this.y + y * this.size[1] * this.scale];
  }
}
