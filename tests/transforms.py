"""Transforms for tiny models, as somebody would put them beside one."""

LISTS = """
import numpy as np

from service.engine.transform import BadInstance


class Lists:
    Instance = Prediction = list[float]

    def before(self, instances):
        if wrong := [index for index, row in enumerate(instances) if len(row) != 4]:
            raise BadInstance("expected four numbers", wrong[0])
        return {"x": np.array(instances, np.float32)}

    def after(self, outputs):
        return outputs["y"]
"""
"""For `tiny.double`: four numbers in, their doubles out."""
