"""What a person does who has just installed the pack, by clicks in the editor alone."""

from editor import RENDERERS, open_client, open_help, run, set_values

from tools.server import Server

WIDTHS = """() => app.graph._nodes.filter(n => n.type === 'SaveImage').map(
    n => [...(n.imgs ?? []), ...document.querySelectorAll(`[data-node-id="${n.id}"] img`)].find(i => i.naturalWidth)?.naturalWidth)"""


def draw_and_find_sdxl(server: Server, folder: str, browser) -> None:
    """Run the demo template up to its 4× picture; then learn from its model's help how SDXL is done, and be offered SDXL."""
    page = open_client(server, browser, RENDERERS[-1], 1600, 1000)
    open_template(page, folder, "freescale_demo")
    set_values(page, steps=2)  # the template's 50 take minutes
    run(page)
    page.wait_for_function(f"() => ({WIDTHS})().join() === '256,512,1024'", timeout=30_000)

    open_help(page, "FreeScaleDemoModel")
    advice = page.locator(".node-help-content")
    advice.get_by_text("freescale_sdxl_4k").wait_for()
    assert "1024 × 1024" in advice.inner_text()

    open_template(page, folder, "freescale_sdxl_4k")
    page.get_by_text("sd_xl_base_1.0.safetensors").first.wait_for()
    page.get_by_role("button", name="Download").first.wait_for()  # the checkpoint, from where the template says
    assert page.faults == []
    page.close()


def open_template(page, folder: str, name: str) -> None:
    """In the dialog of templates, under the pack's name."""
    page.get_by_label("Templates", exact=True).first.click()
    page.get_by_role("dialog").get_by_text(folder, exact=True).first.click()  # nodes have the name on them, too
    page.get_by_test_id(f"template-workflow-{name}").click()
    page.wait_for_function("name => app.extensionManager.workflow.activeWorkflow.filename === name", arg=name, timeout=30_000)
