// The SDK's own client, driven by a test: a command in JSON on each line of stdin, an answer on each line of stdout.
import { createInterface } from "node:readline";

import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const isOpen = (part) =>
  part.state === "approval-requested" ||
  (part.toolName === "question" && part.providerExecuted === false && part.state === "input-available");
const isAnswer = (part) =>
  part.state === "approval-responded" ||
  (part.toolName === "question" && part.providerExecuted === false && part.state.startsWith("output-"));

let chat, api, headers, events;

function make({ id, messages = [] }) {
  events = [];
  chat = new Chat({
    id,
    messages,
    transport: new DefaultChatTransport({ api, headers }),
    sendAutomaticallyWhen: ({ messages }) => {
      const parts = messages.at(-1).parts;
      return parts.some(isAnswer) && !parts.some(isOpen);
    },
    onFinish: ({ finishReason, message }) => {
      events.push(finishReason ?? null);
      if (message.metadata?.again) setTimeout(() => chat.resumeStream());
    },
  });
}

const commands = {
  async open(given) {
    ({ api, headers } = given);
    make(given);
  },
  async reload() {
    const response = await fetch(`${api}/${chat.id}`, { headers });
    make({ id: chat.id, messages: await response.json() });
    chat.resumeStream();
  },
  async send({ text, messageId, files }) {
    chat.sendMessage({ text, messageId, files });
  },
  async set({ messages }) {
    chat.messages = messages;
  },
  async regenerate() {
    chat.regenerate();
  },
  async approve({ id, approved, reason }) {
    chat.addToolApprovalResponse({ id, approved, reason });
  },
  async output({ toolCallId, output, state, errorText }) {
    chat.addToolOutput({ tool: "question", toolCallId, output, state, errorText });
  },
  async stop() {
    await chat.stop();
    const response = await fetch(`${api}/${chat.id}/stop`, { method: "POST", headers });
    events.push(response.status);
  },
  async look() {},
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  await commands[command](given);
  const told = { messages: chat.messages, status: chat.status, error: chat.error?.message ?? null, events };
  process.stdout.write(JSON.stringify(told) + "\n");
}
