// The words of widgets and painter, from locales/<language>/main.json, in the client's language or else in English.

let loaded = null;

/** {language, texts} of a part of the file. */
export async function loadTexts(app, api, part) {
  loaded ??= api.fetchApi("/i18n").then((answer) => answer.json()).catch(() => ({}));
  const all = await loaded;
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  return { language, texts: { ...all.en?.[part], ...all[language]?.[part] } };
}

/** Put the words into a page: where an element names its own, as its text or as its label, with the key that does the same. */
export function label(document, { texts, language }) {
  for (const element of document.querySelectorAll("[data-text], [data-title]")) {
    const { text, title, key } = element.dataset;
    const words = texts[text ?? title] ?? text ?? title;
    if (text) element.textContent = words;
    else element.setAttribute("aria-label", words);
    if (key || title) element.title = key ? `${words} (${key})` : words;
  }
  document.documentElement.lang = language;
}
