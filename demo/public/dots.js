// A dot for each client: a ring while it waits, filled when it is answered, and a cross-out when it failed.
const classes = { ".": "", "+": "answered", "x": "failed" };

// Shows a text of these marks, one for each client.
export function showDots(place, marks) {
  while (place.children.length > marks.length) place.lastElementChild.remove();
  while (place.children.length < marks.length) place.append(document.createElement("i"));
  for (let number = 0; number < marks.length; number++) {
    const dot = place.children[number];
    const wanted = classes[marks[number]];
    if (dot.className !== wanted) dot.className = wanted;
  }
}
