/** The painter's page, with the address of its styles. */
export const page = (styles) => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>FreeScale</title>
    <link rel="stylesheet" href="${styles}" />
  </head>
  <body>
    <header>
      <fieldset id="tools" aria-keyshortcuts="B E L R O F">
        <legend data-text="tool"></legend>
        <label><input type="radio" name="tool" value="brush" checked /><span data-text="brush" data-key="B"></span></label>
        <label><input type="radio" name="tool" value="eraser" /><span data-text="eraser" data-key="E"></span></label>
        <label><input type="radio" name="tool" value="lasso" /><span data-text="lasso" data-key="L"></span></label>
        <label><input type="radio" name="tool" value="rectangle" /><span data-text="rectangle" data-key="R"></span></label>
        <label><input type="radio" name="tool" value="ellipse" /><span data-text="ellipse" data-key="O"></span></label>
        <label><input type="radio" name="tool" value="fill" /><span data-text="fill" data-key="F"></span></label>
      </fieldset>
      <div class="group">
        <button id="undo" data-text="undo" data-key="Ctrl+Z"></button>
        <button id="redo" data-text="redo" data-key="Ctrl+Y"></button>
        <button id="invert" data-text="invert" data-key="X"></button>
        <button id="clear" data-text="clear"></button>
      </div>
      <div class="group">
        <button id="zoom-out" data-title="zoomOut" data-key="−">−</button>
        <button id="zoom-fit" data-text="fit" data-key="0"></button>
        <button id="zoom-in" data-title="zoomIn" data-key="+">+</button>
      </div>
      <div class="group end">
        <button id="discard" data-text="discard"></button>
        <button id="done" class="main" data-text="done"></button>
      </div>
    </header>
    <aside>
      <div id="scale">
        <label><span data-text="detail"></span> <span class="value" id="detail-value"></span>
          <input type="range" id="detail" min="0" max="0.909" step="0.001" aria-keyshortcuts=", ." />
        </label>
        <div class="legend" aria-hidden="true"><div id="ramp"></div><div id="ticks"></div></div>
      </div>
      <fieldset id="presets">
        <legend data-text="presets"></legend>
        <button data-factor="2"><span data-text="moreDetail" data-key="1"></span> <small><span>× 2 </span>= <output></output></small></button>
        <button data-factor="0.5" data-most="1"><span data-text="protectFace" data-key="2"></span> <small><span>× ½ </span>= <output></output></small></button>
        <button data-factor="0.25" data-most="0.25"><span data-text="keepAsIs" data-key="3"></span> <small><span>× ¼ </span>= <output></output></small></button>
      </fieldset>
      <label><span data-text="size"></span> <span class="value" id="size-value"></span>
        <input type="range" id="size" min="0.002" max="0.5" step="any" aria-keyshortcuts="[ ]" />
      </label>
      <label><span data-text="hardness"></span> <span class="value" id="hardness-value"></span>
        <input type="range" id="hardness" min="0" max="1" step="0.05" aria-keyshortcuts="{ }" />
      </label>
      <label><span data-text="opacity"></span> <span class="value" id="opacity-value"></span>
        <input type="range" id="opacity" min="0" max="1" step="0.05" />
      </label>
      <p id="meaning" data-text="meaning"></p>
      <p id="notice" role="alert"></p>
      <p id="status" role="status"></p>
    </aside>
    <main id="stage" tabindex="0" role="application" data-title="stage">
      <div id="sheet">
        <img id="backdrop" alt="" draggable="false" hidden />
        <canvas id="overlay"></canvas>
      </div>
      <div id="cursor" aria-hidden="true"></div>
    </main>
  </body>
</html>`;
