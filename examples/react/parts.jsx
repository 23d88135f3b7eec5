import { useState } from "react";

export function Composer({ busy, send, stop }) {
  const [text, setText] = useState("");
  const submit = (event) => {
    event.preventDefault();
    send(text);
    setText("");
  };
  return (
    <form onSubmit={submit}>
      <textarea name="prompt" aria-label="Prompt" value={text} onChange={(event) => setText(event.target.value)} required />
      <button disabled={busy}>Send</button>
      {busy && <button type="button" onClick={stop}>Stop</button>}
    </form>
  );
}

/** A tool call's line, with what it printed. */
export function Call({ title, state, detail }) {
  return <pre className="call">{[`${title} (${state})`, detail?.output ?? detail?.answer ?? ""].join("\n").trim()}</pre>;
}

/** What the agent waits for: a permission with all that it says, or questions. */
export function Ask({ ask, allow, refuse, choose }) {
  const [chosen, setChosen] = useState({});
  if (ask.type === "permission")
    return (
      <fieldset>
        <legend>{ask.title}</legend>
        {ask.detail && <pre>{JSON.stringify(ask.detail, null, 2)}</pre>}
        {ask.facts.map(({ name, text }) => <pre key={name}>{`${name}: ${text}`}</pre>)}
        {ask.left_out > 0 ? <p>{ask.more} are not shown.</p> : <button onClick={allow}>Allow once</button>}
        <button onClick={refuse}>Refuse</button>
      </fieldset>
    );
  return (
    <fieldset>
      {ask.questions.map(({ place, text, options }) => (
        <label key={place}>
          {text}
          <select onChange={({ target }) => setChosen({ ...chosen, [place]: [target.value] })} defaultValue="">
            <option disabled value="" />
            {options.map(({ label }) => <option key={label}>{label}</option>)}
          </select>
        </label>
      ))}
      <button disabled={Object.keys(chosen).length < ask.questions.length} onClick={() => choose(ask.questions.map(({ place }) => chosen[place]))}>
        Answer
      </button>
      <button onClick={refuse}>Dismiss</button>
    </fieldset>
  );
}
