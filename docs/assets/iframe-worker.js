/* Search in pages that are opened from a disk. A browser starts no worker for file: URLs, so the script of
   the worker runs in a hidden frame, which answers to the part of the interface of Worker that is used. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.addEventListener("load", () => this.start(frame.contentWindow, url), { once: true })
      document.body.append(frame)
    }

    start(scope, url) {
      const load = (source) =>
        new Promise((resolve, reject) => {
          const script = scope.document.createElement("script")
          script.src = new URL(source, location.href)
          script.onload = resolve
          script.onerror = reject
          scope.document.body.append(script)
        })
      scope.importScripts = (...sources) =>
        sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve())
      /* What the script posts is for this page, not for its own frame. */
      scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      load(url).then(() => {
        this.post = (data) => scope.dispatchEvent(new MessageEvent("message", { data }))
        this.waiting.splice(0).forEach(this.post)
      })
    }

    postMessage(data) {
      this.post ? this.post(data) : this.waiting.push(data)
    }
  }
}
