import { HttpAgent } from "@ag-ui/client";
import { useEffect, useReducer } from "react";
import { createRoot } from "react-dom/client";

import { Ask, Call, Composer } from "./parts.jsx";

const API = "/chats/agui";
const CHAT = "home";

const agent = new HttpAgent({ url: API, threadId: CHAT });
let problem = null;

async function run(more) {
  problem = null;
  const { result } = await agent.runAgent(more).catch(() => ({})); // the subscriber knows why
  if (result?.again) await run();
}

async function stop() {
  agent.abortRun();
  await fetch(`${API}/${CHAT}/stop`, { method: "POST" });
  await run();
}

function Chat() {
  const [, redraw] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    const { unsubscribe } = agent.subscribe({
      onMessagesChanged: redraw,
      onRunInitialized: redraw,
      onRunFinalized: redraw,
      onRunErrorEvent: ({ event }) => void (problem = event.message),
      onRunFailed: ({ error }) => void (problem ??= error.message),
    });
    if (agent.messages.length) run(); // go on with the newest turn; a run tells those who had subscribed when it began
    return unsubscribe;
  }, []);
  const resume = (entry) =>
    run({ resume: agent.pendingInterrupts.map(({ id }) => ({ interruptId: id, ...entry })) });
  const resolve = (payload) => resume({ status: "resolved", payload });
  const send = (content) => {
    agent.addMessage({ id: crypto.randomUUID(), role: "user", content });
    run();
  };
  const results = new Map(agent.messages.filter(({ role }) => role === "tool").map((each) => [each.toolCallId, each]));
  const show = ({ id, role, content, toolCalls, activityType }) => {
    if (toolCalls)
      return toolCalls.map((call) => {
        const result = JSON.parse(results.get(call.id)?.content ?? "null");
        const title = result?.title ?? `${call.function.name} ${JSON.parse(call.function.arguments).target}`;
        return <Call key={call.id} title={title} state={result?.state ?? "running"} detail={result?.detail} />;
      });
    if (role === "tool") return null;
    if (role === "reasoning") return <details key={id}><summary>Thought</summary>{content}</details>;
    if (role === "activity") return <pre key={id}>{JSON.stringify({ [activityType]: content }, null, 2)}</pre>;
    return <p key={id} className={role}>{content}</p>;
  };
  return (
    <>
      {agent.messages.map(show)}
      {!agent.isRunning && agent.pendingInterrupts.map(({ id, metadata }) => (
        <Ask
          key={id}
          ask={metadata.opencode}
          allow={() => resolve({ approved: true })}
          choose={(answers) => resolve({ answers })}
          refuse={() => resume({ status: "cancelled" })}
        />
      ))}
      {problem && <p role="alert">{problem}</p>}
      <Composer busy={agent.isRunning} send={send} stop={stop} />
    </>
  );
}

const loaded = await (await fetch(`${API}/${CHAT}`)).json();
agent.setMessages(loaded);
createRoot(document.getElementById("root")).render(<Chat />);
