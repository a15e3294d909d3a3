// Counts the loads of this tab. The tests read the attribute.
const loads = Number(sessionStorage.getItem("loads") ?? 0) + 1;
sessionStorage.setItem("loads", String(loads));
document.documentElement.dataset.loads = String(loads);
document.getElementById("count").textContent = `Loaded ${loads} ${loads === 1 ? "time" : "times"}.`;
