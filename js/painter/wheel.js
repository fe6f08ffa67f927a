/** How far a wheel has turned, in notches, up or left being more; a trackpad turns by parts of one. */
export function turn(event) {
  return -((event.deltaY || event.deltaX) * (event.deltaMode ? 33 : 1)) / 100; // lines or px
}
