const loads = Number(sessionStorage.getItem("loads") ?? 0) + 1;
sessionStorage.setItem("loads", String(loads));
document.getElementById("count").textContent = `Loaded ${loads} ${loads === 1 ? "time" : "times"}.`;
