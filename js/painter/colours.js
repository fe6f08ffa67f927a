// The colours of α: clear at the usual 2, warm above, cold below; nodes/region/region_detail.py tints its IMAGE alike.

export const HIGHEST_DETAIL = 20;
const TICKS = [0, 0.5, 1, 2, 3, 5, 20];
export const USUAL = 2;
const HIGHEST_OPACITY = 0.85; // the picture is to be seen below
// RGB beside the usual and at the far end
const WARM = [[255, 170, 30], [200, 10, 10]];
const COLD = [[40, 150, 255], [70, 10, 190]];

/** Where α lies on the scale of legend and slider, 0 … 1: the usual in the middle. */
export const position = (alpha) => alpha / (alpha + USUAL);

/** The α at a place of the scale, of two decimals. */
export const alphaAt = (place) => Math.round(Math.min(HIGHEST_DETAIL, (USUAL * place) / (1 - place)) * 100) / 100;

// RGBA of 256 places, as the 32-bit numbers of an ImageData's pixels.
const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  const away = Math.abs(i / 255 - 0.5) * 2;
  const [near, far] = i > 127 ? WARM : COLD;
  const colour = near.map((value, channel) => value + away * (far[channel] - value));
  const opacity = 255 * HIGHEST_OPACITY * (i > 127 ? Math.sqrt(away) : away); // 3 is nearer to 2 than 1 is, but to be seen too
  return new Uint32Array(new Uint8ClampedArray([...colour, opacity]).buffer)[0];
});

/** The pixel of an α. */
export const pixel = (alpha) => TABLE[(255 * alpha) / (alpha + USUAL) + 0.5 | 0];

/** Show the scale's ramp in one element and its numbers in another. */
export function legend(ramp, ticks) {
  ramp.style.backgroundImage = gradient();
  for (const alpha of TICKS) {
    const tick = Object.assign(ticks.ownerDocument.createElement("span"), { textContent: alpha });
    tick.style.left = `${(100 * position(alpha)) / position(HIGHEST_DETAIL)}%`;
    ticks.append(tick);
  }
}

/** CSS gradient of the scale, up to the highest α. */
function gradient() {
  const stops = Array.from({ length: 21 }, (_, i) => {
    const [red, green, blue, opacity] = new Uint8ClampedArray(TABLE.buffer, 4 * Math.round((i / 20) * 255 * position(HIGHEST_DETAIL)), 4);
    return `rgb(${red} ${green} ${blue} / ${opacity / 255})`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
