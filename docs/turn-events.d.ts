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

/** A question, what could be chosen, and what was; `answers` may hold a text of the person's own. */
export interface Answered {
  header: string;
  text: string;
  options: string[];
  answers: string[];
}

export type Ask = PermissionAsk | QuestionAsk;

/** All that the agent waits for a person to answer, in the place of what it waited for before. */
export interface AsksChanged {
  asks: Ask[];
}

/** The first event of every stream. Within a version, events and fields are only added. */
export interface Begin {
  version: 1;
}

/** What a turn has cost so far, as its row says. */
export interface Bill {
  cost: number;
  input_tokens: number;
  output_tokens: number;
}

/** What the turn has cost so far. */
export interface BillChanged {
  bill: Bill;
}

/** A program that the agent wrote and ran, the tools that it called, and what it gave. */
export interface Code {
  type: "code";
  text: string;
  language: string;
  steps: Step[];
  output: string;
  left_out: number;
  note: string;
}

/** A command of the shell, and what it printed. */
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

/** What a tool that is not known here was given, and what it gave: JSON laid out, or a text. */
export interface Data {
  type: "data";
  note: string;
  given: string;
  result: string;
  left_out: number;
}

export type Detail = Diff | FileContent | Command | Matches | Listing | TodoList | SubAgent | Questions | Page | Code | Output | Data;

/** What was, or is to be, changed, file by file. */
export interface Diff {
  type: "diff";
  files: FileDiff[];
  left_out: number;
  note: string;
}

/** One line. `old` and `new` are its numbers before and after; None where it was not there, or that is unknown. */
export interface DiffLine {
  kind: "add" | "remove" | "context";
  text: string;
  old: number | null;
  new: number | null;
}

/** The last event of a turn: its status, or "gone" if its row was deleted. Do not connect again. */
export interface End {
  status: "pending" | "streaming" | "completed" | "cancelled" | "failed" | "gone";
}

/** Something that a tool is given, by its name. */
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

/** What changes in one file. */
export interface FileDiff {
  path: string;
  change: "add" | "edit" | "delete" | "move";
  moved_from: string;
  hunks: Hunk[];
  added: number;
  removed: number;
}

/** Lines that stand together. `header` is what the diff says of the place, such as a function's name. */
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

/** The event says all. */
export interface Nothing {
}

/** Something that happened on the way. */
export interface Notice {
  type: "notice";
  id: string;
  kind: string;
  icon: string;
  title: string;
  text: string;
  reason: string;
}

/** Something that can be chosen. `label` is as the model wrote it, as it is what the answer says. */
export interface Option {
  label: string;
  description: string;
  text: string;
}

/** A text that a tool gave, of no form that is known here. */
export interface Output {
  type: "output";
  note: string;
  text: string;
  left_out: number;
}

/** What was read on the web. */
export interface Page {
  type: "page";
  note: string;
  url: string;
  text: string;
  markdown: boolean;
  left_out: number;
}

export type Part = Text | Thought | Tool | Todos | File | Patch | Structured | Notice;

/** A part in the place of the one with its id; a new one comes after the part with the id `after` (null: first). */
export interface PartChanged {
  part: Part;
  after: string | null;
}

/** The files that a step of the turn has changed, by whatever tool. */
export interface Patch {
  type: "patch";
  id: string;
  files: string[];
  left_out: number;
}

/** The agent needs leave. */
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

/** The agent has one question, or several that are answered together. */
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

/** What the agent asked a person. */
export interface Questions {
  type: "questions";
  questions: Answered[];
  note: string;
}

/** Why a turn did not end well. */
export interface ShownError {
  name: string;
  title: string;
  advice: string;
  text: string;
  retry: boolean;
  stopped: boolean;
}

/** All that there is to show, in the place of what was shown before. */
export interface State {
  status: "pending" | "streaming" | "completed" | "cancelled" | "failed";
  revision: number;
  live: boolean;
  parts: Part[];
  asks: Ask[];
  error: ShownError | null;
  bill: Bill;
}

/** A tool call of a sub-agent, or of code: a card in small. */
export interface Step {
  tool: string;
  icon: string;
  verb: string;
  target: string;
  state: "waiting" | "running" | "done" | "failed" | "refused";
}

/** The answer as data: JSON, laid out. */
export interface Structured {
  type: "structured";
  id: string;
  text: string;
  left_out: number;
}

/** A sub-agent at work, or its work done. */
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

/** What the agent says. */
export interface Text {
  type: "text";
  id: string;
  markdown: string;
  growing: boolean;
  left_out: number;
}

/** A part in the place of the one with its id, but for `markdown`: that is to be appended to what was there. */
export interface TextGrown {
  part: Text | Thought;
}

/** What the agent thinks aloud. */
export interface Thought {
  type: "thought";
  id: string;
  markdown: string;
  growing: boolean;
  duration: number | null;
  left_out: number;
}

/** One thing to do. `status` is `pending`, `in_progress`, `completed` or `cancelled`; `priority` may be empty. */
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

/** The agent's todo list, as it last was in this turn. */
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
