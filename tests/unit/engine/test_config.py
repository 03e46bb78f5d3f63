"""Which of ONNX Runtime's session config entries a model may set."""

import onnxruntime as ort
import pytest
from pydantic_core import PydanticCustomError

from service.engine.config import HARMLESS, harmless
from service.engine.declaration import SessionOptions


@pytest.mark.parametrize("key", sorted(HARMLESS))
def test_a_harmless_entry_may_be_set(key: str) -> None:
    assert SessionOptions(config={key: "1"}).config == {key: "1"}
    ort.SessionOptions().add_session_config_entry(key, "1")


@pytest.mark.parametrize(
    "key",
    [
        "session.optimized_model_external_initializers_file_name",
        "session.optimized_model_external_initializers_min_size_in_bytes",
        "session.optimized_model_filepath",
        "session.save_external_prepacked_constant_initializers",
        "session.save_model_format",
        "session.load_model_format",
        "session.use_ort_model_bytes_directly",
        "session.use_ort_model_bytes_for_initializers",
        "session.model_external_initializers_file_folder_path",
        "session.use_external_initializer_file_buffers_directly",
        "session.collect_node_memory_stats_to_file",
        "session.node_partition_config_file",
        "session.moe_expert_counter_state_file",
        "session.resource_cuda_partitioning_settings",
        "session.enable_profiling",
        "session.log_severity_level",
        "session.intra_op_thread_affinities",
        "ep.context_enable",
        "ep.context_file_path",
        "ep.context_model_external_initializers_file_name",
        "ep.share_ep_contexts",
        "ep.cuda.anything",
        "an entry of a later version",
        "",
        "session.dynamic_block_base ",
        "Session.Dynamic_Block_Base",
    ],
)
def test_any_other_entry_is_refused_with_those_that_may_be_set(key: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        harmless(key)
    assert caught.value.message() == (
        "a model may not set this entry of ONNX Runtime, which could name files or change how the model is loaded; "
        f"it may set {', '.join(sorted(HARMLESS))}"
    )
