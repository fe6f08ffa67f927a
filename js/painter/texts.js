// The widgets' words, from locales/<language>/main.json, in the client's language or else in English.

let loaded = null;

/** {language, texts} of a part of the file. */
export async function loadTexts(app, api, part) {
  loaded ??= api.fetchApi("/i18n").then((answer) => answer.json()).catch(() => ({}));
  const all = await loaded;
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  return { language, texts: { ...all.en?.[part], ...all[language]?.[part] } };
}
