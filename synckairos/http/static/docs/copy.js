// The button “Copy” of a code block.

const COPIED_MS = 1500;

/** Add a button after a code block that copies its text. The marks `$ ` of a shell are left out. */
export function addCopyButton(pre) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.onclick = async () => {
    const isConsole = pre.querySelector(".language-console") !== null;
    const lines = pre.textContent.trimEnd().split("\n");
    const text = isConsole ? lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2)) : lines;
    try {
      await navigator.clipboard.writeText((text.length ? text : lines).join("\n"));
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(pre);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), COPIED_MS);
  };
  pre.after(button);
}
