# ruff: noqa: RUF001 - Chinese punctuation is meant
"""What reports say, in English and in Simplified Chinese. Numbers and units are the same in both."""

from __future__ import annotations

from parallel_ml.notify.words import LANGUAGES, cause_of, known, step_of, word

__all__ = ["LANGUAGES", "cause_of", "joined", "label", "named", "sentences", "state_of", "step_of"]

_LABELS: dict[str, tuple[str, str]] = {
    # titles
    "title": ("Run {name}", "运行 {name}"),
    "title_several": ("{count} runs compared", "{count} 次运行对比"),
    "summary": ("Summary", "概要"),
    "leaderboard": ("Runs, the best first", "运行排行榜"),
    "jobs": ("Jobs, the best first", "任务排行"),
    "differences": ("What differed", "配置差异"),
    "curves": ("Curves", "训练曲线"),
    "confusion": ("Confusion matrices", "混淆矩阵"),
    "timeline": ("GPUs over time", "GPU 时间线"),
    "failures": ("What went wrong", "失败原因"),
    "attempts": ("Attempts of jobs that were tried again", "重试记录"),
    "story": ("What else happened", "过程记录"),
    "alerts": ("Alerts that fired", "触发的告警"),
    "origin": ("What it was made with", "运行环境与来源"),
    # labels
    "run": ("run", "运行"),
    "id": ("id", "编号"),
    "job": ("job", "任务"),
    "state": ("state", "状态"),
    "count_jobs": ("jobs", "任务数"),
    "winner": ("best job", "最佳任务"),
    "best": ("best {metric}", "最佳{metric}"),
    "in_epoch": ("in epoch", "最佳轮次"),
    "test_accuracy": ("test accuracy", "测试准确率"),
    "test_acc": ("test acc", "测试准确率"),
    "epochs": ("epochs", "轮数"),
    "time": ("time", "用时"),
    "epoch_time": ("an epoch", "每轮用时"),
    "memory": ("memory", "内存峰值"),
    "gpu_memory": ("GPU memory", "显存峰值"),
    "energy": ("energy", "能耗"),
    "attempt": ("attempt", "第几次"),
    "attempts_short": ("attempts", "尝试次数"),
    "cause": ("cause", "原因"),
    "seed": ("seed", "随机种子"),
    "checkpoint": ("checkpoint", "检查点"),
    "device": ("device", "设备"),
    "batch": ("batch size", "批大小"),
    "began": ("began", "开始"),
    "ended": ("ended", "结束"),
    "made": ("this report", "报告时间"),
    "folder": ("folder", "目录"),
    "command": ("command", "命令"),
    "notes": ("notes", "备注"),
    "outcome": ("outcome", "结果"),
    "evidence": ("seen", "依据"),
    "advice": ("try", "建议"),
    "error": ("error", "错误"),
    "when": ("when", "时间"),
    "what": ("what", "事件"),
    "rule": ("rule", "规则"),
    "condition": ("condition", "条件"),
    "now": ("now", "当前"),
    "times": ("times", "次数"),
    "key": ("key", "键"),
    "mean": ("mean", "平均"),
    "most": ("most", "峰值"),
    "last_epoch": ("last in epoch", "最近轮次"),
    "true_class": ("true class", "真实类别"),
    "answer": ("answer", "预测类别"),
    "how_often": ("times", "次数"),
    "value": ("value", "值"),
    "version": ("version", "版本"),
    "python": ("Python", "Python"),
    "system": ("system", "系统"),
    "git_commit": ("git commit", "Git 提交"),
    "not_committed": (
        "{changed} files changed and {untracked} untracked",
        "{changed} 个文件已修改，{untracked} 个未跟踪",
    ),
    "clean_checkout": ("nothing uncommitted", "无未提交修改"),
    "no_git": ("no git checkout", "非 Git 仓库"),
    "code": ("code", "代码快照"),
    "packages": ("packages", "软件包"),
    "machine": ("machine", "机器"),
    "cards": ("GPUs", "GPU"),
    "none": ("none", "无"),
    "driver": ("driver", "驱动"),
    "not_as_planned": ("not as planned", "与计划不同"),
    "memory_now": ("memory (MiB)", "内存（MiB）"),
    "cpu_now": ("CPU (% of one core)", "CPU（单核 %）"),
    "gpu_memory_now": ("GPU memory (MiB)", "显存（MiB）"),
    "gpu_use_now": ("GPU utilisation (%)", "GPU 利用率（%）"),
    "since_start": ("time since the run was made", "自运行创建起的时间"),
    "epoch": ("epoch", "轮次"),
    "placement": ("Who was where", "任务分布"),
    "undelivered": ("messages", "消息"),
    # sentences
    "winner_is": ("{job} is the best by {what}: {value}", "最佳任务 {job}，依据{what}：{value}"),
    "only_winner": ("{job} is the only job that completed", "仅 {job} 完成"),
    "no_winner": ("nothing to compare: fewer than two jobs completed", "完成的任务不足两个，无法比较"),
    "not_measured": (
        "nothing to compare: fewer than two of the jobs that completed told a metric",
        "已完成的任务中报告指标的不足两个，无法比较",
    ),
    "still_on": (
        "The run has not ended: this is how it stood at {when}.",
        "运行尚未结束，本报告为 {when} 时的状态。",
    ),
    "gone": (" Nobody drives it: parallel-ml resume {run}", " 调度进程已退出：parallel-ml resume {run}"),
    "more_jobs": ("{count} further jobs are not shown: {counts}.", "另有 {count} 个任务未显示：{counts}。"),
    "compared_some": (
        "Of the {count} best jobs; the others were not compared.",
        "仅对比排名前 {count} 的任务。",
    ),
    "nothing_differs": ("The configurations are alike.", "各配置相同。"),
    "keys_more": ("{count} further keys differ.", "另有 {count} 个键不同。"),
    "solid_dashed": ("Solid: validation, dashed: training.", "实线为验证集，虚线为训练集。"),
    "one_each": ("Validation where it is told, else training.", "优先显示验证集，其次训练集。"),
    "rest_grey": (
        "The {drawn} best jobs have a colour, the other {rest} are grey.",
        "排名前 {drawn} 的任务以彩色显示，其余 {rest} 个为灰色。",
    ),
    "ring": ("A ring marks each job's best epoch.", "圆圈标记各任务的最佳轮次。"),
    "nonfinite": (
        "{job}: {metric} was not finite in epoch {epochs}.",
        "{job}：{metric} 在第 {epochs} 轮不是有限数值。",
    ),
    "curve_alt": (
        "{metric} by epoch of {count} jobs, from {low} to {high}; the last of {job}: {last}",
        "{count} 个任务的 {metric} 随轮次变化，范围 {low} 到 {high}；{job} 的最后值为 {last}",
    ),
    "time_alt": (
        "{what} over time of {count} jobs; the most: {high}, by {job}",
        "{count} 个任务的{what}随时间变化；最大值 {high}（{job}）",
    ),
    "lanes_alt": ("{count} attempts on {lanes}", "{count} 次尝试，分布于 {lanes}"),
    "matrix_alt": (
        "{job}: {right} of {all} right; most often wrong: {wrong}",
        "{job}：{all} 个中 {right} 个正确；最常见错误：{wrong}",
    ),
    "matrix_all_right": ("{job}: all {all} right", "{job}：{all} 个全部正确"),
    "taken_for": ("{truth} taken for {answer} ({count})", "{truth} 被认作 {answer}（{count}）"),
    "as_table": ("The same as a table", "以表格显示"),
    "as_of_job": ("{job}, the last lines of its stderr", "{job} 的 stderr 最后几行"),
    "more_failed": ("{count} further jobs failed.", "另有 {count} 个任务失败。"),
    "more_matrices": (
        "{count} further matrices are in the jobs' result.json.",
        "另有 {count} 个见各任务的 result.json。",
    ),
    "no_measure": (
        "What the jobs took of cards was not measured: this is what their processes took of the machine.",
        "未测得显卡占用，以下为进程的主机资源占用。",
    ),
    "retried": ("after: {causes}", "此前：{causes}"),
    "early": ("stopped early", "提前停止"),
    "unreadable": ("not readable: {why}", "无法读取：{why}"),
    "skip": ("to the jobs", "跳到任务表"),
    "colours": ("Colours of the jobs", "任务颜色"),
    "likely": ("probably {cause}", "可能是{cause}"),
    # what jobs are compared by
    "val accuracy": ("validation accuracy", "验证准确率"),
    "val loss": ("validation loss", "验证损失"),
    "training accuracy": ("training accuracy", "训练准确率"),
    "training loss": ("training loss", "训练损失"),
    "test accuracy": ("test accuracy", "测试准确率"),
    "loss": ("loss", "损失"),
    "accuracy": ("accuracy", "准确率"),
    "learning_rate": ("learning rate", "学习率"),
    # states that messages do not count
    "state_starting": ("starting", "启动中"),
    "state_stopping": ("stopping", "停止中"),
    "state_retrying": ("retrying", "等待重试"),
    "status_firing": ("firing", "触发中"),
    "status_pending": ("pending", "待确认"),
    "status_inactive": ("over", "已解除"),
}


def label(key: str, language: str, **values: object) -> str:
    """Return a text of the catalogue in a language, with values in its places.

    >>> label("best", "en", metric="val loss"), label("jobs", "zh")
    ('best val loss', '任务排行')
    """
    text = _LABELS[key][LANGUAGES.index(language)]
    return text.format(**values) if values else text


def named(key: str, language: str) -> str:
    """Return a word that may come from a job: as the catalogue has it, else as it is."""
    return label(key, language) if key in _LABELS else key


def state_of(state: str, language: str) -> str:
    """Return a job's or a run's state.

    >>> state_of("completed", "zh"), state_of("retrying", "en"), state_of("odd", "zh")
    ('完成', 'retrying', 'odd')
    """
    key = f"state_{state}"
    return label(key, language) if key in _LABELS else known(key, language, state)


def sentences(parts: list[str], language: str) -> str:
    """Return sentences as a paragraph; Chinese has no space between them."""
    return ("" if language == "zh" else " ").join(parts)


def joined(words: list[str], language: str) -> str:
    """Return words as a list in a sentence."""
    return word("comma", language).join(words)
