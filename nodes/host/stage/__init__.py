"""One cascade stage in ComfyUI (P §3.1): what it is to do, and doing it."""
