// The painter's words, from locales/<language>/main.json, in the client's language or else in English.

let loaded = null;

/** {language, texts}. */
export async function loadTexts(app, api) {
  loaded ??= api.fetchApi("/i18n").then((answer) => answer.json()).catch(() => ({}));
  const all = await loaded;
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  return { language, texts: { ...all.en?.freescalePainter, ...all[language]?.freescalePainter } };
}
