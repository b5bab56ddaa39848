// A photo from the clipboard is given to the upload, while that is visible.
function paste(event) {
  if (!element.isConnected) return document.removeEventListener("paste", paste);
  const input = document.querySelector("#photo-upload input[type=file]");
  if (!input || !element.offsetParent || !event.clipboardData.files.length) return;
  input.files = event.clipboardData.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  event.preventDefault();
}
document.addEventListener("paste", paste);
