"""Which of ONNX Runtime's session config entries a `model.toml` may set.

Others read files, write files, load a form of the model that nobody has looked at, or belong to us. A new version of
ONNX Runtime brings new ones, so those that are harmless are listed: they choose between ways to compute, and no more.
The names are those of onnxruntime_session_options_config_keys.h.
"""

from typing import Final

from pydantic_core import PydanticCustomError

HARMLESS: Final = frozenset(
    {
        "mlas.disable_kleidiai",
        "mlas.enable_gemm_fastmath_arm64_bfloat16",
        "mlas.use_lut_gemm",
        "optimization.constant_folding_max_output_size_in_bytes",
        "optimization.disable_specified_optimizers",
        "optimization.enable_cast_chain_elimination",
        "optimization.enable_gelu_approximation",
        "session.allow_released_opsets_only",
        "session.disable_aot_function_inlining",
        "session.disable_cpu_ep_fallback",
        "session.disable_double_qdq_remover",
        "session.disable_prepacking",
        "session.disable_qdq_constant_folding",
        "session.disable_quant_qdq",
        "session.dynamic_block_base",
        "session.enable_dq_matmulnbits_fusion",
        "session.enable_quant_qdq_cleanup",
        "session.force_spinning_stop",
        "session.graph_optimizations_loop_level",
        "session.inter_op.allow_spinning",
        "session.intra_op.allow_spinning",
        "session.intra_op.spin_backoff_max",
        "session.intra_op.spin_duration_us",
        "session.qdq_matmulnbits_accuracy_level",
        "session.qdq_matmulnbits_block_size",
        "session.set_denormal_as_zero",
        "session.strict_shape_type_inference",
        "session.use_device_allocator_for_initializers",
    }
)


def harmless(key: str) -> str:
    """The key. Raises PydanticCustomError for one that is not listed."""
    if key in HARMLESS:
        return key
    raise PydanticCustomError(
        "session_config",
        "a model may not set this entry of ONNX Runtime, which could name files or change how the model is loaded; "
        "it may set {listed}",
        {"listed": ", ".join(sorted(HARMLESS))},
    )
