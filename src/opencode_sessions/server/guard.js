// A plugin of every managed server. It guards what permission rules do not reach (OpenCode 1.18.33).
import { lstatSync, readlinkSync, realpathSync, writeFileSync } from "node:fs";
import path from "node:path";

// The agent's commands run as the server's user, who could read the server's environment and memory in /proc.
try {
  const { dlopen } = await import("bun:ffi");
  const SET_DUMPABLE = 4;
  const { symbols } = dlopen("libc.so.6", { prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" } });
  symbols.prctl(SET_DUMPABLE, 0, 0, 0, 0);
} catch {
  // not Linux with glibc
}

const SEEN_BY_COMMANDS = "OPENCODE_SESSIONS_TREE"; // by it, those that outlive the server are found and ended
const hidden = new Set(process.env.OPENCODE_SESSIONS_HIDDEN?.split(","));
const isHidden = (name) => hidden.has(name) || (name.startsWith("OPENCODE_") && name !== SEEN_BY_COMMANDS);

// The argument that names a file or folder, of each tool.
const PLACES = {
  bash: "workdir", edit: "filePath", glob: "path", grep: "path", list: "path", lsp: "filePath", read: "filePath", write: "filePath",
};
const PATCHED = ["*** Add File:", "*** Delete File:", "*** Update File:"];
const MOVED = "*** Move to:";
const INSTRUCTIONS = ["AGENTS.md", "CLAUDE.md", "CONTEXT.md"];

// Where a path leads, whether or not there is anything. What is used afterwards is this, never the path as it was given: the
// system follows a link before it goes up by `..`, and this does not.
const follow = (file, links = 0) => {
  try { return realpathSync(file); } catch { /* there is nothing */ }
  const folder = path.dirname(file);
  if (folder === file) return file;
  const parent = follow(folder, links);
  const found = path.join(parent, path.basename(file));
  let target;
  try { target = readlinkSync(found); } catch { return found; }
  if (links > 40) throw new Error(`${file} leads through too many links.`);
  return follow(path.resolve(parent, target), links + 1);
};

const isLink = (file) => {
  try { return lstatSync(file).isSymbolicLink(); } catch { return false; }
};

const within = (root, file) => {
  const relative = path.relative(root, file);
  return !path.isAbsolute(relative) && relative.split(path.sep)[0] !== ".." ? relative : undefined;
};

export default async ({ directory, worktree }) => {
  const folder = follow(directory);
  const repository = follow(worktree);

  // A rule is matched with the path that the model gave. Through a link it would decide about another file.
  const where = (given) => {
    const file = path.resolve(directory, given);
    const target = follow(file);
    const relative = within(folder, target);
    if (relative !== undefined) {
      const found = path.join(directory, relative);
      return found === file && !path.isAbsolute(given) ? given : found; // the server makes the same of a relative path
    }
    // The server lets an agent work in all of the repository around its folder, and a command could make one of anything.
    if (repository !== path.parse(repository).root && within(repository, target) !== undefined)
      throw new Error(`${given} is outside of the agent's folder, ${directory}.`);
    return target;
  };

  // With a file the server gives the model the instructions in its folder, and in those above it, whatever the rules say.
  const checkInstructions = (file) => {
    for (let at = path.dirname(file); within(directory, at) !== undefined && at !== path.dirname(at); at = path.dirname(at))
      for (const name of INSTRUCTIONS)
        if (isLink(path.join(at, name))) throw new Error(`${path.join(at, name)} is a link, which the server would follow.`);
  };

  const patched = (line) => {
    // The rule for edits is asked about the file that is moved, and not about its new name.
    if (line.startsWith(MOVED)) throw new Error("A patch may not move a file: add the new one, and delete the old one.");
    const head = PATCHED.find((each) => line.startsWith(each));
    return head ? `${head} ${where(line.slice(head.length).trim())}` : line;
  };

  if (process.env.OPENCODE_SESSIONS_GUARDED) writeFileSync(process.env.OPENCODE_SESSIONS_GUARDED, "");
  return {
    "shell.env": async (_input, output) => {
      for (const name of Object.keys(process.env)) if (isHidden(name)) output.env[name] = undefined;
    },
    "tool.execute.before": async ({ tool }, { args }) => {
      const place = PLACES[tool];
      if (typeof args?.[place] === "string") args[place] = where(args[place]);
      if (tool === "read" && typeof args?.filePath === "string") checkInstructions(path.resolve(directory, args.filePath));
      if (typeof args?.patchText === "string") args.patchText = args.patchText.split("\n").map(patched).join("\n");
      // The server reads each file that a sub-agent's prompt names with an @, whatever the rules say.
      if (tool === "task" && typeof args?.prompt === "string") args.prompt = args.prompt.replace(/(?<![\w`])@/g, "`@`");
      // By its id a task goes on with any session of the server: another user's, with that one's rules; or an earlier
      // sub-agent, with the rules of that time.
      if (tool === "task") delete args?.task_id;
    },
  };
};
