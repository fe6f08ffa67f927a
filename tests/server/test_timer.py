"""Timers in a prompt that a real server runs."""


def test_two_timers_of_one_model_each_have_their_own_sampler(comfy):
    demo, prompt = {"class_type": "FreeScaleDemoModel", "inputs": {"hat": "no", "hue": 0.1, "framing": "portrait"}}, {}
    for name, steps in (("brief", 1), ("long", 20)):
        sampling = {"seed": 1, "steps": steps, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
        wired = {"model": [f"{name} timer", 0], "positive": ["demo", 1], "negative": ["demo", 2], "latent_image": ["empty", 0]}
        caption = {"image": [f"{name} picture", 0], "label": "", "time": [f"{name} timer", 1]}
        prompt |= {
            f"{name} timer": {"class_type": "FreeScaleTimer", "inputs": {"model": ["demo", 0]}},
            f"{name} latent": {"class_type": "KSampler", "inputs": {**sampling, **wired}},
            f"{name} picture": {"class_type": "VAEDecode", "inputs": {"samples": [f"{name} latent", 0], "vae": ["demo", 3]}},
            f"{name} caption": {"class_type": "FreeScaleCaption", "inputs": caption},
            f"{name} saved": {"class_type": "SaveImage", "inputs": {"images": [f"{name} caption", 0], "filename_prefix": name}},
        }
    empty = {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 1}}
    run = comfy.run({"demo": demo, "empty": empty, **prompt})
    assert run.ending == "execution_success"
    brief, long = (picture[:-128] for picture in run.pictures)  # the strips with the seconds
    assert brief.shape == long.shape and (brief != long).any()
