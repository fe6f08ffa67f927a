// The painter's page in a dialog over the editor, in the colours of the client's theme.
import { page } from "./page.js";
import { openPainter } from "./painter.js";

const COLOURS = { "--bg": "--comfy-menu-bg", "--fg": "--input-text", "--border": "--border-color", "--field": "--comfy-input-bg" };

/** Open it with a session (see painter.js) but for its close(), and call `closed` at the end; the dialog. */
export function openDialog(title, session, closed) {
  const dialog = Object.assign(document.createElement("dialog"), { className: "freescale-painter" });
  // Not from an address: proxies may forbid all that they answer to be framed (X-Frame-Options, frame-ancestors).
  const srcdoc = page(new URL("./painter.css", import.meta.url).href);
  const frame = Object.assign(document.createElement("iframe"), { srcdoc, title });
  frame.addEventListener("load", () => {
    theme(frame.contentDocument.documentElement);
    openPainter(frame.contentDocument, { ...session, close: () => dialog.close() });
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
  });
  dialog.append(frame);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Hand the client's colours to the page. */
function theme(root) {
  const style = getComputedStyle(document.documentElement);
  for (const [ours, theirs] of Object.entries(COLOURS)) {
    const colour = style.getPropertyValue(theirs).trim() || getComputedStyle(document.body).getPropertyValue(theirs).trim();
    if (colour) root.style.setProperty(ours, colour);
  }
  root.style.colorScheme = document.body.classList.contains("dark-theme") ? "dark" : "light";
}
