"""The pages for those who come from another system: they name every class, function and option that it documents.

The names are those of the versions that the pages give, read from the packages' documentation and `__all__`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[1] / "docs" / "coming-from"
NAMES = {
    "batch-llm": """
        LLMWorkItem item_id strategy prompt context WorkItemResult success output error token_usage
        gemini_safety_ratings BatchResult ParallelBatchProcessor config add_work process_all cleanup LLMCallStrategy
        prepare execute on_error dry_run PydanticAIStrategy GeminiStrategy response_parser GeminiCachedStrategy
        cached_content cache_ttl_seconds cache_refresh_threshold max_workers timeout_per_item progress_interval
        progress_callback progress_callback_timeout enable_detailed_logging max_queue_size RetryConfig max_attempts
        initial_wait max_wait exponential_base jitter RateLimitConfig cooldown_seconds slow_start_ ErrorClassifier
        DefaultErrorClassifier GeminiErrorClassifier ErrorInfo RateLimitStrategy ExponentialBackoffStrategy
        FixedDelayStrategy Middleware BaseMiddleware before_process after_process ProcessorObserver BaseObserver
        PROCESSING_STARTED PROCESSING_COMPLETED ITEM_STARTED ITEM_COMPLETED ITEM_FAILED RETRY_SCHEDULED RATE_LIMIT_HIT
        WORKER_STARTED WORKER_STOPPED MetricsObserver get_metrics export_json export_prometheus export_dict TokenUsage
        FrameworkTimeoutError PostProcessorFunc ProgressCallbackFunc
    """,
    "chainette": """
        Step id name input_model output_model engine_name sampling system_prompt user_prompt SamplingParams Chain steps
        Branch join apply Result Graph GraphNode Executor AsyncExecutor run_iter StreamWriter EnginePool EngineBroker
        acquire flush register_engine model backend endpoint dtype gpu_memory_utilization devices lazy enable_reasoning
        openai vllm_api ollama_api vllm_local warmup run kill inspect inspect-dag quiet json-logs stream-writer columns
        output_dir graph.json YAML
    """,
    "llm-batch-runner": """
        prompt_map concurrency max_attempts model_name openrouter_api_key worker response_model output_shape
        return_dtype cache_db_url teardown teardown_results export_jsonl progress_update_every MODEL pending inflight
        done failed missing
    """,
    "lmsyz-genai-ie-rfs": """
        extract_df prompt model backend base_url id_col text_col schema chunk_size max_workers cache_path fresh
        ignore_prompt_hash api_key client draft_prompt print_prompt Settings OpenAIBatchExtractor
        AnthropicBatchExtractor create_batch_jsonl create_batch_requests temperature max_tokens tool_name
        exclude_processed submit_batches submit_batch check_batch_status continuous interval timeout
        retrieve_results_as_dataframe max_requests_per_batch batch_root_dir SqliteCache get put all_ids
        DataFrameIterator validate_input_dataframe compute_prompt_hash retry_api_call
    """,
    "lotus": """
        settings configure context LM temperature max_tokens max_batch_size rate_limit tpm_limit physical_usage_limit
        virtual_usage_limit UsageLimit cache enable_cache max_ctx_len tokenizer sem_map sem_extract extract_quotes
        sem_filter return_all output_tokens sem_agg all_cols response_format split_fields_into_cols
        long_context_strategy group_by sem_join sem_topk method cascade_threshold sem_partition_by partition_fn
        sem_index load_sem_index sem_search sem_sim_join sem_cluster_by sem_dedup rm vs reranker examples
        helper_examples system_prompt additional_cot_instructions strategy return_explanations default
        return_raw_outputs postprocessor suffix safe_mode progress_bar_desc cascade_args CascadeArgs helper_lm
        return_stats print_total_usage reset_stats llm_as_judge pairwise_judge serialization_format
        parallel_groupby_max_threads CacheFactory CacheConfig CacheType SQLiteCache ImageArray DataConnector
        load_from_db load_from_s3 web_search web_extract DirectoryReader Corpus agent ops tools PythonREPLTool
        LazyFrame Optimizer LotusUsageLimitException
    """,
    "openaivec": """
        responses DataFrame.ai .aio batch_size max_concurrency ResponseLimits show_progress max_validation_retries
        RetryPolicy reasoning multimodal _with_cache BatchCache task task_with_cache PreparedTask list_tasks nlp
        customer_support table parse infer_schema SchemaInferer SchemaInferenceInput SchemaInferenceOutput extract
        fillna FewShotPrompt FewShotPromptBuilder improve embeddings similarity count_tokens BatchEmbeddings
        EmbeddingLimits set_embeddings_model split_to_chunks_udf BatchResponses set_client set_async_client get_client
        get_async_client set_responses_model get_responses_model spark_ext responses_udf task_udf parse_udf setup
        setup_azure setup_entra_id duckdb_ext setup_fabric
    """,
    "smelt-ai": """
        Model provider name api_key params get_chat_model Job prompt output_model batch_size concurrency max_retries
        shuffle stop_on_exhaustion run arun test atest PIL AggregateJob strategy tree sequential SmeltResult data errors
        metrics success BatchError row_ids error_type message attempts raw_response batch_index SmeltMetrics
        total_retries wall_time_seconds SmeltError SmeltConfigError SmeltValidationError SmeltAPIError status_code
        SmeltExhaustionError partial_result
    """,
}


@pytest.mark.parametrize("page", NAMES)
def test_a_page_has_a_counterpart_for_every_name(page: str) -> None:
    rows = [line for line in (PAGES / f"{page}.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    theirs = " ".join(line.split(" | ")[0] for line in rows)

    missing = [name for name in NAMES[page].split() if not re.search(rf"(?<![\w]){re.escape(name)}", theirs)]

    assert missing == []
    assert all(line.count(" | ") == 1 and line.endswith("|") for line in rows)


def test_every_page_is_held() -> None:
    assert sorted(path.stem for path in PAGES.glob("*.md")) == sorted(NAMES)
