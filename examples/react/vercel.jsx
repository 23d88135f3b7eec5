import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { createRoot } from "react-dom/client";

import { Ask, Call, Composer } from "./parts.jsx";

const API = "/chats/vercel";
const CHAT = "home";

const isQuestion = (part) => part.toolName === "question" && part.providerExecuted === false;
const isOpen = (part) => part.state === "approval-requested" || (isQuestion(part) && part.state === "input-available");
const isAnswer = (part) => part.state === "approval-responded" || (isQuestion(part) && part.state.startsWith("output-"));

function Chat({ loaded }) {
  const chat = useChat({
    id: CHAT,
    messages: loaded,
    resume: true,
    transport: new DefaultChatTransport({ api: API }),
    sendAutomaticallyWhen: ({ messages }) => {
      const parts = messages.at(-1).parts;
      return parts.some(isAnswer) && !parts.some(isOpen);
    },
    onFinish: ({ message }) => {
      if (message.metadata?.again) setTimeout(() => chat.resumeStream());
    },
  });
  const stop = async () => {
    await chat.stop();
    await fetch(`${API}/${CHAT}/stop`, { method: "POST" });
    await chat.resumeStream();
  };
  const answer = (id, approved) => chat.addToolApprovalResponse({ id, approved });
  const show = (part, key) => {
    if (part.state === "approval-requested") {
      const { id, descriptor } = part.approval;
      return <Ask key={key} ask={descriptor} allow={() => answer(id, true)} refuse={() => answer(id, false)} />;
    }
    if (isQuestion(part) && isOpen(part)) {
      const { toolCallId } = part;
      const choose = (output) => chat.addToolOutput({ tool: "question", toolCallId, output });
      const refuse = () => chat.addToolOutput({ tool: "question", toolCallId, state: "output-error", errorText: "" });
      return <Ask key={key} ask={part.input} choose={choose} refuse={refuse} />;
    }
    if (part.type === "dynamic-tool")
      return <Call key={key} title={part.title} state={part.state} detail={part.output?.detail} />;
    if (part.type === "text") return <p key={key}>{part.text}</p>;
    if (part.type === "reasoning") return <details key={key}><summary>Thought</summary>{part.text}</details>;
    return <pre key={key}>{JSON.stringify(part.data ?? part, null, 2)}</pre>;
  };
  const busy = chat.status === "submitted" || chat.status === "streaming";
  return (
    <>
      {chat.messages.map(({ id, role, parts }) => <section key={id} className={role}>{parts.map(show)}</section>)}
      {chat.error && <p role="alert">{chat.error.message}</p>}
      <Composer busy={busy} send={(text) => chat.sendMessage({ text })} stop={stop} />
    </>
  );
}

const loaded = await (await fetch(`${API}/${CHAT}`)).json();
createRoot(document.getElementById("root")).render(<Chat loaded={loaded} />);
