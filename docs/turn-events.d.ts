// The events of a turn, version 1. Made from the types in opencode_sessions.frontends.display_json.

/** The data of each event, by the event's name. */
export interface TurnEvents {
  begin: Begin;
  state: State;
  part: PartChanged;
  text: TextGrown;
  asks: AsksChanged;
  bill: BillChanged;
  beat: Nothing;
  again: Nothing;
  end: End;
}

/** A question, its options and its answers; `answers` may contain a text of the person's own. */
export interface Answered {
  header: string;
  text: string;
  options: string[];
  answers: string[];
}

export type Ask = PermissionAsk | QuestionAsk;

/** All asks that wait for a person, in place of the earlier ones. */
export interface AsksChanged {
  asks: Ask[];
}

/** The first event of every stream. Within a version, events and fields are only added. */
export interface Begin {
  version: 1;
}

/** The cost and tokens of a turn so far, according to its row. */
export interface Bill {
  cost: number;
  input_tokens: number;
  output_tokens: number;
}

/** The cost of the turn so far. */
export interface BillChanged {
  bill: Bill;
}

/** A program that the agent wrote and ran, the tools that it called, and its result. */
export interface Code {
  type: "code";
  text: string;
  language: string;
  steps: Step[];
  output: string;
  left_out: number;
  note: string;
}

/** A command of the shell, and its output. */
export interface Command {
  type: "command";
  command: string;
  output: string;
  exit_code: number | null;
  description: string;
  folder: string;
  remark: string;
  left_out: number;
  note: string;
}

/** The input and the result of an unknown tool: JSON with indentation, or a text. */
export interface Data {
  type: "data";
  note: string;
  given: string;
  result: string;
  left_out: number;
}

export type Detail = Diff | FileContent | Command | Matches | Listing | TodoList | SubAgent | Questions | Page | Code | Output | Data;

/** Changes that were made, or will be made, file by file. */
export interface Diff {
  type: "diff";
  files: FileDiff[];
  left_out: number;
  note: string;
}

/** One line. `old` and `new` are its numbers before and after; None if it did not exist, or that is unknown. */
export interface DiffLine {
  kind: "add" | "remove" | "context";
  text: string;
  old: number | null;
  new: number | null;
}

/** The last event of a turn: its status, or "gone" if its row was deleted. Do not reconnect. */
export interface End {
  status: "pending" | "streaming" | "completed" | "cancelled" | "failed" | "gone";
}

/** A value in a tool's input, with its name. */
export interface Fact {
  name: string;
  text: string;
}

/** A file of the answer, or one that a tool returned. */
export interface File {
  type: "file";
  id: string;
  name: string;
  mime: string;
  url: string;
  picture: boolean;
  size: number | null;
}

/** Some lines of a file. */
export interface FileContent {
  type: "file";
  path: string;
  text: string;
  language: string;
  first_line: number;
  total: number | null;
  left_out: number;
  note: string;
}

/** The changes of one file. */
export interface FileDiff {
  path: string;
  change: "add" | "edit" | "delete" | "move";
  moved_from: string;
  hunks: Hunk[];
  added: number;
  removed: number;
}

/** A group of lines. `header` is the diff's text for the place, such as a function's name. */
export interface Hunk {
  header: string;
  lines: DiffLine[];
}

/** Files that were found, or a folder's entries. */
export interface Listing {
  type: "listing";
  entries: string[];
  total: number;
  more: boolean;
  note: string;
  left_out: number;
}

/** A line that a search found. */
export interface Match {
  path: string;
  line: number;
  text: string;
}

/** What a search in files found. */
export interface Matches {
  type: "matches";
  matches: Match[];
  total: number;
  more: boolean;
  note: string;
  left_out: number;
}

/** An event without data. */
export interface Nothing {
}

/** A remark about the turn. */
export interface Notice {
  type: "notice";
  id: string;
  kind: string;
  icon: string;
  title: string;
  text: string;
  reason: string;
}

/** An option. `label` is the model's own text, because an answer repeats it. */
export interface Option {
  label: string;
  description: string;
  text: string;
}

/** The result of a tool, as a text without a known form. */
export interface Output {
  type: "output";
  note: string;
  text: string;
  left_out: number;
}

/** A page from the web. */
export interface Page {
  type: "page";
  note: string;
  url: string;
  text: string;
  markdown: boolean;
  left_out: number;
}

export type Part = Text | Thought | Tool | Todos | File | Patch | Structured | Notice;

/** A part, in place of the one with its id; a new one comes after the part with the id `after` (null: first). */
export interface PartChanged {
  part: Part;
  after: string | null;
}

/** The files that a step of the turn has changed, with any tool. */
export interface Patch {
  type: "patch";
  id: string;
  files: string[];
  left_out: number;
}

/** A permission that the agent needs. */
export interface PermissionAsk {
  type: "permission";
  id: string;
  permission: string;
  icon: string;
  verb: string;
  target: string;
  detail: Detail | null;
  facts: Fact[];
  patterns: string[];
  always: string[];
  asked_at: string;
  untold: boolean;
  left_out: number;
  size: number;
  shown: string;
  part: string;
  title: string;
  more: string;
  always_all: boolean;
}

/** One question of an ask. */
export interface Question {
  place: number;
  header: string;
  text: string;
  options: Option[];
  multiple: boolean;
  own_answer: boolean;
}

/** One question of the agent, or several that are answered together. */
export interface QuestionAsk {
  type: "question";
  icon: string;
  id: string;
  questions: Question[];
  asked_at: string;
  left_out: number;
  size: number;
  shown: string;
  part: string;
  title: string;
  more: string;
}

/** The questions that the agent asked a person. */
export interface Questions {
  type: "questions";
  questions: Answered[];
  note: string;
}

/** The reason why a turn failed or was stopped. */
export interface ShownError {
  name: string;
  title: string;
  advice: string;
  text: string;
  retry: boolean;
  stopped: boolean;
}

/** The whole view, in place of everything that was shown before. */
export interface State {
  status: "pending" | "streaming" | "completed" | "cancelled" | "failed";
  revision: number;
  live: boolean;
  parts: Part[];
  asks: Ask[];
  error: ShownError | null;
  bill: Bill;
}

/** A tool call of a sub-agent, or of a program: a small card. */
export interface Step {
  tool: string;
  icon: string;
  verb: string;
  target: string;
  state: "waiting" | "running" | "done" | "failed" | "refused";
}

/** A structured answer: JSON with indentation. */
export interface Structured {
  type: "structured";
  id: string;
  text: string;
  left_out: number;
}

/** A sub-agent and its work. */
export interface SubAgent {
  type: "agent";
  agent: string;
  description: string;
  prompt: string;
  status: string;
  steps: Step[];
  earlier: number;
  says: string;
  answer: string;
  waits_for: string[];
  left_out: number;
  note: string;
}

/** A text of the agent. */
export interface Text {
  type: "text";
  id: string;
  markdown: string;
  growing: boolean;
  left_out: number;
}

/** A part, in place of the one with its id, except that `markdown` is appended to the text that was there. */
export interface TextGrown {
  part: Text | Thought;
}

/** A reasoning text of the agent. */
export interface Thought {
  type: "thought";
  id: string;
  markdown: string;
  growing: boolean;
  duration: number | null;
  left_out: number;
}

/** An item. `status` is `pending`, `in_progress`, `completed` or `cancelled`; `priority` may be empty. */
export interface Todo {
  text: string;
  status: string;
  priority: string;
}

/** The agent's todo list. */
export interface TodoList {
  type: "todos";
  todos: Todo[];
  left_out: number;
  note: string;
}

/** The agent's last todo list in this turn. */
export interface Todos {
  type: "todos";
  id: string;
  list: TodoList;
}

/** The card of a tool call. */
export interface Tool {
  type: "tool";
  id: string;
  tool: string;
  kind: string;
  state: "waiting" | "running" | "done" | "failed" | "refused";
  verb: string;
  icon: string;
  target: string;
  detail: Detail | null;
  error: string;
  duration: number | null;
  asks: boolean;
  files: File[];
  title: string;
  note: string;
}
