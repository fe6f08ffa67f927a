// The colours of α: clear at the usual 2, warm above, cold below; nodes/region_detail_mask.py tints its IMAGE alike.

export const HIGHEST_DETAIL = 20;
export const TICKS = [0, 0.5, 1, 2, 3, 5, 20];
const USUAL = 2;
const HIGHEST_OPACITY = 0.85; // the picture is to be seen below
const WARM = [242, 89, 13];
const COLD = [26, 102, 242];

/** Where α lies on the scale of legend and slider, 0 … 1: the usual in the middle. */
export const position = (alpha) => alpha / (alpha + USUAL);

/** The α at a place of the scale, of two decimals. */
export const alphaAt = (place) => Math.round(Math.min(HIGHEST_DETAIL, (USUAL * place) / (1 - place)) * 100) / 100;

// RGBA of 256 places, as the 32-bit numbers of an ImageData's pixels.
const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  const away = (i / 255 - 0.5) * 2;
  const [red, green, blue] = away > 0 ? WARM : COLD;
  const opacity = Math.round(255 * HIGHEST_OPACITY * Math.sqrt(Math.abs(away)));
  return new Uint32Array(new Uint8ClampedArray([red, green, blue, opacity]).buffer)[0];
});

/** The pixel of an α. */
export const pixel = (alpha) => TABLE[(255 * alpha) / (alpha + USUAL) + 0.5 | 0];

/** CSS gradient of the scale, up to the highest α. */
export function gradient() {
  const stops = Array.from({ length: 21 }, (_, i) => {
    const [red, green, blue, opacity] = new Uint8ClampedArray(TABLE.buffer, 4 * Math.round((i / 20) * 255 * position(HIGHEST_DETAIL)), 4);
    return `rgb(${red} ${green} ${blue} / ${opacity / 255})`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
