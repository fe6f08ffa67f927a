// Undo and redo: what was painted after each change. It knows nothing of the page or the map.

export class History {
  #steps;
  #now = 0;

  constructor(shapes) {
    this.#steps = [shapes];
  }

  /** The shapes as they are now. */
  get shapes() {
    return this.#steps[this.#now];
  }

  get atFirst() {
    return this.#now === 0;
  }

  get atLast() {
    return this.#now === this.#steps.length - 1;
  }

  /** Go on to other shapes; what was undone before is gone. */
  remember(shapes) {
    this.#steps = [...this.#steps.slice(0, this.#now + 1), shapes];
    this.#now += 1;
  }

  /** Go some steps on, or back where negative, as far as there are any; whether there was one. */
  travel(steps) {
    const before = this.#now;
    this.#now = Math.min(this.#steps.length - 1, Math.max(0, before + steps));
    return this.#now !== before;
  }
}
