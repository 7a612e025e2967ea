"""Vision-language models behind one verb, `VisionModel.answer`."""
