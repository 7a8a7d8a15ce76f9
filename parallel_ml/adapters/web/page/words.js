// What the page says, in English and in Simplified Chinese. Numbers and units are the same in both.

export const LANGUAGES = ["en", "zh"];
const KEY = "parallel_ml.language";
const WORDS = {
  skip: ["To the content", "跳到正文"],
  language: ["Language", "语言"],
  runs: ["Runs", "运行列表"],
  more_runs: ["Older runs", "更早的运行"],
  no_runs: ["There is no run yet. Start one: parallel-ml run CONFIG …", "还没有运行。启动：parallel-ml run 配置文件 …"],
  door_title: ["A token is needed", "需要访问令牌"],
  door_text: [
    "Open the address that “parallel-ml serve” printed, or give its token here.",
    "请打开 parallel-ml serve 显示的地址，或在此输入令牌。",
  ],
  door_wrong: ["The server does not know this token.", "服务器不认识这个令牌。"],
  token: ["Token", "令牌"],
  enter: ["Open", "进入"],
  link_live: ["live", "实时"],
  link_gone: ["server is gone; trying again", "服务器已断开，正在重试"],
  link_wait: ["connecting", "正在连接"],
  back_again: ["the server is back", "服务器已恢复"],
  loading: ["Loading …", "正在加载……"],
  not_there: ["This run or job is not there: {why}", "找不到该运行或任务：{why}"],
  jobs: ["Jobs", "任务"],
  job: ["Job", "任务"],
  run: ["Run", "运行"],
  state: ["State", "状态"],
  epoch: ["Epoch", "轮次"],
  left: ["Left", "剩余"],
  loss: ["Loss", "损失"],
  accuracy: ["Accuracy", "准确率"],
  pace: ["An epoch", "每轮"],
  memory: ["Memory", "内存"],
  gpu_memory: ["GPU memory", "显存"],
  device: ["Device", "设备"],
  drawn: ["Draw", "绘制"],
  draw: ["Draw the curves of {job}", "绘制 {job} 的曲线"],
  actions: ["Actions", "操作"],
  all_states: ["all states", "全部状态"],
  find: ["Find a job", "查找任务"],
  page_of: ["{first}–{last} of {total}", "第 {first}–{last} 个，共 {total} 个"],
  previous: ["Previous", "上一页"],
  next: ["Next", "下一页"],
  pages: ["Pages of jobs", "任务分页"],
  no_jobs: ["No job fits.", "没有符合条件的任务。"],
  counts: ["{count} {state}", "{count} 个{state}"],
  run_left: ["about {left} left", "约剩 {left}"],
  nobody: [
    "Nobody drives this run. Resume takes it over.",
    "该运行的调度进程已退出，“继续”可接管。",
  ],
  undelivered: ["Not delivered: {what}", "未送达：{what}"],
  curves: ["Curves", "训练曲线"],
  loss_chart: ["Loss by epoch", "损失（按轮次）"],
  accuracy_chart: ["Accuracy by epoch", "准确率（按轮次）"],
  solid_dashed: [
    "Solid: validation. Dashed: training. Numbers name the lines.",
    "实线为验证集，虚线为训练集，数字对应任务。",
  ],
  most_drawn: ["At most {count} jobs are drawn; {job} was taken out.", "最多绘制 {count} 个任务，已移除 {job}。"],
  other_metric: ["By epoch:", "按轮次："],
  no_curves: ["No epoch has been told yet.", "还没有训练轮次。"],
  chart_alt: [
    "{what} of {count} jobs, from {low} to {high}; last: {last}",
    "{count} 个任务的{what}，范围 {low} 到 {high}；最新：{last}",
  ],
  as_table: ["The same as a table", "以表格显示"],
  lowest: ["Lowest", "最低"],
  highest: ["Highest", "最高"],
  use: ["GPU and memory over time", "GPU 与内存"],
  use_gpu_memory: ["GPU memory (MiB)", "显存（MiB）"],
  use_gpu: ["GPU utilisation (%)", "GPU 利用率（%）"],
  use_memory: ["Memory (MiB)", "内存（MiB）"],
  use_cpu: ["CPU (% of one core)", "CPU（单核 %）"],
  since_start: ["Time since each job's newest attempt began. Numbers name the lines.", "自各任务最近一次启动起的时间，数字对应任务。"],
  no_gpu: ["No figures of a GPU are told: these jobs hold none, or the driver does not say.", "没有 GPU 数据：任务未占用 GPU，或驱动未提供。"],
  no_use: ["Nothing was measured yet.", "还没有测量数据。"],
  differences: ["What differs", "配置差异"],
  nothing_differs: ["The configurations are alike.", "各配置相同。"],
  first_compared: ["Of the first {count} jobs.", "仅比较前 {count} 个任务。"],
  alerts: ["Alerts", "告警"],
  no_alerts: ["No alert has fired.", "没有触发过告警。"],
  more_alerts: ["{count} more are not shown.", "另有 {count} 条未显示。"],
  rule: ["Rule", "规则"],
  condition: ["Condition", "条件"],
  times: ["Fired", "触发次数"],
  last_epoch: ["Last in epoch", "最近轮次"],
  status_firing: ["firing", "触发中"],
  status_pending: ["not yet for long enough", "待确认"],
  status_inactive: ["over", "已解除"],
  log: ["Log", "日志"],
  log_of: ["Log of {job}, the last {most} lines", "{job} 的日志，最后 {most} 行"],
  follow: ["Follow", "跟随"],
  no_log: ["Nothing was printed yet.", "还没有输出。"],
  stderr: ["stderr", "错误输出"],
  system: ["parallel_ml", "parallel_ml"],
  details: ["Details", "详情"],
  outcome: ["Outcome", "结果"],
  waiting: ["Waits", "等待原因"],
  attempt: ["Attempt", "第几次尝试"],
  batch: ["Batch size", "批大小"],
  seed: ["Seed", "随机种子"],
  started: ["Started", "开始时间"],
  ended: ["Ended", "结束时间"],
  elapsed: ["Time", "用时"],
  error: ["Error", "错误"],
  cause: ["Cause", "原因"],
  evidence: ["Seen", "依据"],
  advice: ["Try", "建议"],
  done_about: ["After running out of memory", "内存不足时的处理"],
  folder: ["Folder", "目录"],
  model: ["Model", "模型"],
  back: ["All jobs of the run", "该运行的全部任务"],
  cancel: ["Cancel", "取消"],
  stop: ["Stop", "停止"],
  pause: ["Pause", "暂停"],
  resume: ["Resume", "继续"],
  retry: ["Retry", "重试"],
  order_job: ["{verb} {job}", "{verb} {job}"],
  order_run: ["{verb} all jobs of the run", "{verb}该运行的全部任务"],
  why_stop: ["What was saved last stays. Retry goes on from there.", "已保存的进度会保留，“重试”可从断点继续。"],
  why_pause: ["The training saves and ends, so that its GPU is free. Resume goes on from there.", "训练保存进度后退出并释放 GPU，“继续”可从断点恢复。"],
  why_resume: ["What is paused goes on. Where nobody drives the run, it is taken over.", "暂停的任务将继续；若无调度进程，则接管该运行。"],
  why_retry: ["What failed or was stopped is tried again, from its last checkpoint.", "失败或已停止的任务将从最近的检查点重试。"],
  stop_now: ["At once, without the time to save", "立即终止，不等待保存"],
  pause_freeze: ["Hold it in memory; its GPU memory stays taken", "冻结在内存中（继续占用显存）"],
  order_done: ["{what}: done", "{what}：已完成"],
  order_waiting: ["{what}: asked; it will be carried out", "{what}：已提交，稍后执行"],
  order_failed: ["{what}: {why}", "{what}：{why}"],
  told: ["{job}: {state}", "{job}：{state}"],
  told_many: ["{count} jobs changed: {counts}", "{count} 个任务状态变化：{counts}"],
  state_pending: ["pending", "等待中"],
  state_starting: ["starting", "启动中"],
  state_running: ["running", "运行中"],
  state_paused: ["paused", "已暂停"],
  state_retrying: ["retrying", "等待重试"],
  state_stopping: ["stopping", "停止中"],
  state_completed: ["completed", "完成"],
  state_failed: ["failed", "失败"],
  state_stopped: ["stopped", "已停止"],
  state_unreadable: ["unreadable", "无法读取"],
  state_pausing: ["pausing", "暂停中"],
  state_held: ["paused in memory", "已冻结"],
};
const CAUSES = {
  out_of_memory: "显存不足", out_of_host_memory: "内存不足", nan: "损失变为 NaN", data: "数据问题", configuration: "配置错误",
  import: "缺少依赖包", cuda_mismatch: "CUDA 版本不匹配", nccl: "NCCL 通信故障", segfault: "底层代码崩溃", killed: "被外部终止",
  disk: "磁盘空间不足或不可写", time: "超出时限", start: "无法启动", lost: "进程丢失", gpu_lost: "GPU 掉卡", program: "程序出错",
};
let place = LANGUAGES.indexOf(remembered());

function remembered() {
  try {
    const kept = localStorage.getItem(KEY);
    if (LANGUAGES.includes(kept)) return kept;
  } catch {
    // a browser that keeps nothing
  }
  return navigator.language.startsWith("zh") ? "zh" : "en";
}

/** Return the language in use. */
export const language = () => LANGUAGES[place];

/** Use a language, next time as well. */
export function setLanguage(chosen) {
  if (!LANGUAGES.includes(chosen)) return;
  place = LANGUAGES.indexOf(chosen);
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // it holds until the page is loaded anew
  }
}

/** Return a text of the catalogue, with values in its places. */
export function t(key, values = {}) {
  return WORDS[key][place].replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

/** Return a state's word; one that is not known stays as it is. */
export function stateWord(state) {
  return Object.hasOwn(WORDS, `state_${state}`) ? t(`state_${state}`) : state;
}

/** Return what a failure looks like. */
export function causeOf(failure) {
  return (place && Object.hasOwn(CAUSES, failure.class) ? CAUSES[failure.class] : failure.words) ?? "";
}

/** Translate what stands in the page's file. */
export function translate(root) {
  document.documentElement.lang = place ? "zh-CN" : "en";
  for (const one of root.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  for (const one of root.querySelectorAll("[data-t-label]")) one.setAttribute("aria-label", t(one.dataset.tLabel));
}
