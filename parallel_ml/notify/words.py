# ruff: noqa: RUF001 - Chinese punctuation is meant
"""What messages say, in English and in Simplified Chinese. Numbers and units are the same in both."""

from __future__ import annotations

import re
from typing import Any

LANGUAGES = ("en", "zh")

_WORDS: dict[str, tuple[str, str]] = {
    # the renderer's own
    "cut": ("… cut: the message is longer than this channel takes", "……内容过长，已截断"),
    "colon": (": ", "："),
    "comma": (", ", "，"),
    "best_mark": ("(best)", "（最佳）"),
    "happened_at": (" (at {time})", "（发生于 {time}）"),
    # titles
    "started": ("{job}: training started", "{job} 开始训练"),
    "new_best": ("{job}: new best {metric} {value}", "{job} 刷新最佳 {metric}：{value}"),
    "finished": ("{job}: training finished", "{job} 训练完成"),
    "failed": ("{job}: training failed ({cause})", "{job} 训练失败（{cause}）"),
    "failed_plain": ("{job}: training failed", "{job} 训练失败"),
    "stopped": ("{job}: training stopped", "{job} 训练已停止"),
    "paused": ("{job}: training paused", "{job} 训练已暂停"),
    "interrupted": ("{job}: training interrupted", "{job} 训练中断"),
    "supervisor_ended": ("run {run}: nobody drives it any more", "运行 {run}：调度进程已退出"),
    "out_of_memory": ("{job}: out of memory, tried again with less", "{job} 内存不足，已自动调整后重试"),
    "alert": ("{job}: alert {alert}", "{job} 告警：{alert}"),
    "alert_resolved": ("{job}: alert {alert} is over", "{job} 告警解除：{alert}"),
    "run_done": ("run {run}: all {count} jobs succeeded", "运行 {run}：{count} 个任务全部成功"),
    "run_done_one": ("run {run}: its job succeeded", "运行 {run}：任务成功"),
    "run_ended": ("run {run}: {counts}", "运行 {run}：{counts}"),
    "test": ("parallel_ml: a test message", "parallel_ml：测试消息"),
    "digest_alike": ("{count} jobs: {what}", "{count} 个任务：{what}"),
    "digest": ("{count} messages: {counts}", "{count} 条消息汇总：{counts}"),
    # labels
    "label_job": ("job", "任务"),
    "label_run": ("run", "运行"),
    "label_state": ("state", "状态"),
    "label_device": ("device", "设备"),
    "label_batch": ("batch size", "批大小"),
    "label_epochs": ("epochs", "轮数"),
    "label_epoch": ("epoch", "轮次"),
    "label_seed": ("seed", "随机种子"),
    "label_attempt": ("attempt", "第几次尝试"),
    "label_before": ("before", "此前最佳"),
    "label_best_epoch": ("best epoch", "最佳轮次"),
    "label_best": ("best {metric}", "最佳 {metric}"),
    "label_time": ("time", "用时"),
    "label_epoch_time": ("time an epoch", "每轮用时"),
    "label_memory": ("memory, most", "内存峰值"),
    "label_gpu_memory": ("GPU memory, most", "显存峰值"),
    "label_early": ("stopped early", "提前停止"),
    "label_cause": ("cause", "原因"),
    "label_error": ("error", "错误"),
    "label_place": ("place", "位置"),
    "label_advice": ("what to try", "建议"),
    "label_model": ("model", "模型"),
    "label_log": ("log", "日志"),
    "label_dir": ("folder", "目录"),
    "label_done": ("what was done", "处理方式"),
    "label_value": ("value", "当前值"),
    "label_severity": ("severity", "级别"),
    "label_action": ("action", "处置"),
    "label_what": ("what", "事件"),
    "label_detail": ("detail", "详情"),
    "label_winner": ("best job", "最佳任务"),
    "column_val_accuracy": ("val acc", "验证准确率"),
    "column_val_loss": ("val loss", "验证损失"),
    "column_train_accuracy": ("accuracy", "训练准确率"),
    "column_train_loss": ("loss", "训练损失"),
    "column_test_accuracy": ("test acc", "测试准确率"),
    "test_accuracy": ("test accuracy", "测试准确率"),
    "action_stop": ("stop", "停止训练"),
    "action_pause": ("pause", "暂停训练"),
    "action_reduce_lr": ("reduce_lr", "降低学习率"),
    "at_epoch": ("epoch {epoch}", "第 {epoch} 轮"),
    "link_tensorboard": ("TensorBoard", "TensorBoard"),
    "link_page": ("live page", "实时页面"),
    "link_model": ("model", "模型文件"),
    "last_lines": ("last lines of its output", "最后几行输出"),
    # sentences
    "probably": ("probably {cause}", "可能是{cause}"),
    "counted": ("{count} {what}", "{count} 个{what}"),
    "more": ("+{count} more", "另有 {count} 条"),
    "as_saved": ("It goes on from where it stood: parallel-ml resume {run}", "可从断点继续：parallel-ml resume {run}"),
    "run_on": (
        "Running trainings go on by themselves; to drive the run again: parallel-ml resume {run}",
        "正在运行的训练不受影响；如需接管：parallel-ml resume {run}",
    ),
    "retry_by": (
        "To run it again: parallel-ml retry {run} --job {job}",
        "重新运行：parallel-ml retry {run} --job {job}",
    ),
    "test_text": (
        "If you can read this, messages of parallel_ml arrive here.",
        "如果您看到这条消息，说明 parallel_ml 的通知可以正常送达。",
    ),
    # states and kinds, as they are counted
    "state_completed": ("completed", "完成"),
    "state_failed": ("failed", "失败"),
    "state_stopped": ("stopped", "已停止"),
    "state_paused": ("paused", "已暂停"),
    "state_running": ("running", "运行中"),
    "state_pending": ("pending", "等待中"),
    "kind_started": ("started", "开始训练"),
    "kind_new_best": ("new best", "刷新最佳"),
    "kind_finished": ("finished", "训练完成"),
    "kind_failed": ("failed", "训练失败"),
    "kind_interrupted": ("interrupted", "训练中断"),
    "kind_out_of_memory": ("out of memory", "内存不足"),
    "kind_alert": ("alert", "告警"),
    "kind_alert_resolved": ("alert over", "告警解除"),
    "kind_run_done": ("run done", "运行结束"),
    "kind_digest": ("digest", "汇总"),
    "kind_test": ("test", "测试"),
    "kind_own": ("own message", "自定义消息"),
    "level_info": ("info", "提示"),
    "level_warning": ("warning", "警告"),
    "level_critical": ("critical", "严重"),
}

_CAUSES_ZH = {
    "out_of_memory": ("显存不足", "减小 batch_size，或增加显存配额：resources.gpu_memory，或独占显卡 exclusive: true"),
    "out_of_host_memory": ("内存不足", "减小 batch_size 或数据加载进程数，或减少同时运行的任务"),
    "nan": ("损失变为 NaN", "降低学习率、裁剪梯度，或检查数据中的异常值"),
    "data": ("数据问题", "检查报错中提到的文件：是否存在、可读、完整"),
    "configuration": ("配置错误", "改正报错中提到的选项"),
    "import": ("缺少依赖包", "在 command 所用的解释器中安装缺少的包"),
    "cuda_mismatch": ("CUDA 版本不匹配", "安装与本机驱动匹配的框架版本（nvidia-smi 可查看 CUDA 版本）"),
    "nccl": ("NCCL 通信故障", "在 env 中设置 NCCL_DEBUG=INFO，查看最先报错的进程"),
    "segfault": ("底层代码崩溃", "在 env 中设置 PYTHONFAULTHANDLER=1 定位崩溃处，重点排查原生扩展包"),
    "killed": ("被外部终止", "由其他用户、系统限制或关机所致"),
    "disk": ("磁盘空间不足或不可写", "清理磁盘（parallel-ml clean 可删除已结束的运行），然后重试"),
    "time": ("超出时限", "调大 timeout，或减少训练轮数"),
    "start": ("无法启动", "检查配置中的 command、cwd 和解释器"),
    "lost": ("进程丢失", "重试即可：没有留下任何原因"),
    "gpu_lost": ("GPU 掉卡", "查看 parallel-ml gpus 和系统日志，显卡可能需要重置"),
    "program": ("程序出错", "查看日志末尾：parallel-ml logs"),
}
_STEPS_ZH = (
    (
        re.compile(r"batch (\d+) x (\d+) becomes (\d+) x (\d+): .*\((\d+)\)"),
        r"批大小由 \1 x \2 改为 \3 x \4，每次更新的样本数不变（\5）",
    ),
    (
        re.compile(r"validation and test take (\d+) samples at a time instead of (\d+); .*"),
        r"验证和测试每批由 \2 个样本减为 \1 个，训练不变",
    ),
    (re.compile(r"a grant of (\S+) instead of (\S+)"), r"显存配额由 \2 增加到 \1"),
    (re.compile(r"the CPU, with the batch that was asked for"), "改用 CPU，批大小恢复为配置值"),
)


_SUMMARIES_ZH = {
    "a loss is not a finite number": "损失不是有限数值",
    "no epoch and no output for long; it may hang": "长时间没有新的轮次和输出，训练可能已卡住",
    "the disk is nearly full": "磁盘空间即将用尽",
    "the validation loss rises while the training loss falls": "验证损失上升而训练损失下降（过拟合）",
    "the training loss hardly falls": "训练损失几乎不再下降（欠拟合）",
    "an epoch took much longer than usual": "某一轮用时明显长于平时",
    "the training takes longer than it should": "训练总用时超出预期",
    "the GPU has little to do": "GPU 基本空闲",
    "it takes more GPU memory than it was granted": "显存占用超出配额",
    "the GPU is hot": "GPU 温度过高",
}
_UNKNOWN_METRIC = re.compile(
    r"no epoch has told (?P<missing>.+), so that it cannot fire; seen so far: (?P<seen>[^;]*)"
    r"(?:; did you mean (?P<guess>.+)\?)?"
)


def word(key: str, language: str, **values: object) -> str:
    """Return a text of the catalogue in a language, with values in its places.

    >>> word("kind_failed", "en"), word("kind_failed", "zh"), word("more", "en", count=3)
    ('failed', '训练失败', '+3 more')
    """
    text = _WORDS[key][LANGUAGES.index(language)]
    return text.format(**values) if values else text


def known(key: str, language: str, otherwise: str) -> str:
    """Return a text of the catalogue, or `otherwise` where it has none by this key."""
    return word(key, language) if key in _WORDS else otherwise


def cause_of(failure: dict[str, Any], language: str) -> tuple[str, str]:
    """Return a failure's class in plain words, and what to try (of `JobStatus.failure`)."""
    words, advice = str(failure.get("words", "")), str(failure.get("advice", ""))
    if language == "zh":
        words, advice = _CAUSES_ZH.get(str(failure.get("class")), (words, advice))
    return (word("probably", language, cause=words) if failure.get("suspected") else words), advice


def step_of(text: str, language: str) -> str:
    """Return what was done about a lack of memory; a sentence that is not known stays English."""
    if language == "zh":
        for pattern, chinese in _STEPS_ZH:
            if (found := pattern.fullmatch(text)) is not None:
                return found.expand(chinese)
    return text


def summary_of(text: str, language: str) -> str:
    """Return what an alert says of itself; a user's own words stay as they are.

    >>> summary_of("the GPU is hot", "zh"), summary_of("my own", "zh")
    ('GPU 温度过高', 'my own')
    """
    if language != "zh":
        return text
    found = _UNKNOWN_METRIC.fullmatch(text)
    if found is None:
        return _SUMMARIES_ZH.get(text, text)
    seen = "无" if found["seen"] == "none" else found["seen"]
    guess = f"；是否想写 {found['guess']}？" if found["guess"] else ""
    return f"没有任何一轮给出 {found['missing']}，该规则无法触发；目前已有：{seen}{guess}"
