// The protocol's own client, driven by a test: a command in JSON on each line of stdin, an answer on each line of stdout.
import { createInterface } from "node:readline";

import { HttpAgent } from "@ag-ui/client";

let agent, api, headers, events, custom, error;

function make({ id, messages = [] }) {
  events = [];
  custom = {};
  error = null;
  agent = new HttpAgent({ url: api, headers, threadId: id, initialMessages: messages });
  agent.subscribe({
    onEvent: ({ event }) => void events.push(event),
    onCustomEvent: ({ event }) => void (custom[event.name] = event.value),
    onRunErrorEvent: ({ event }) => void (error = event.message),
    onRunFailed: ({ error: failed }) => void (error ??= failed.message),
  });
}

function run(more) {
  error = null;
  agent.runAgent(more).then(
    ({ result }) => result?.again && run(),
    (failed) => (error ??= failed.message),
  );
}

const commands = {
  async open(given) {
    ({ api, headers } = given);
    make(given);
  },
  async reload() {
    make({ id: agent.threadId });
    run();
  },
  async send({ text }) {
    agent.addMessage({ id: crypto.randomUUID(), role: "user", content: text });
    run();
  },
  async resume({ resume }) {
    run({ resume });
  },
  async run() {
    run();
  },
  async stop() {
    agent.abortRun();
    const response = await fetch(`${api}/${agent.threadId}/stop`, { method: "POST", headers });
    custom.stopped = response.status;
  },
  async look() {},
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  await commands[command](given);
  const told = {
    messages: agent.messages,
    interrupts: agent.pendingInterrupts,
    running: agent.isRunning,
    error,
    custom,
    events: command === "look" && given.events ? events : [],
    last: events.at(-1)?.type,
    outcome: events.at(-1)?.outcome?.type ?? null,
  };
  process.stdout.write(JSON.stringify(told) + "\n");
}
