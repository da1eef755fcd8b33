// The map: points on a canvas; one real button stands on the point that the keyboard is at.
if (report.map) drawMap(report.map);

function drawMap(map) {
  const byId = (name) => document.getElementById(`map-${name}`);
  const plane = byId("plane"), canvas = byId("canvas"), point = byId("point"), tip = byId("tip");
  const pen = canvas.getContext("2d"), n = map.rows.length;
  const SHAPES = ["M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z", "M-.88-.88H.88V.88H-.88Z", "M0-1.15L1.1.8H-1.1Z",
    "M0-1.25L1.25 0 0 1.25-1.25 0Z", "M0 1.15L1.1-.8H-1.1Z", "M-.38-1.1H.38V-.38H1.1V.38H.38V1.1H-.38V.38H-1.1V-.38H-.38Z"];
  const N_COLOURS = 8, N_MARKS = N_COLOURS * SHAPES.length, N_LISTED = 60, REACH = 28, MARGIN = 18, MAX_ZOOM = 60;
  const labels = map.rows.map((row) => report.labels[row]);
  const chosen = { classes: new Set(), splits: new Set(), wrong: false };
  let head = report.heads[0], wrong = map.rows.map((row) => Boolean(head) && isWrong(head, row));
  let visible = map.rows.map(() => true), order = [];
  let width = 1, height = 1, zoom = 1, left = 0, top = 0, current = -1, hovered = -1, waiting = false;

  // Marks: colour and shape tell up to 48 classes apart; beyond, those that are chosen have marks.
  const isManyClasses = report.classes.length > N_MARKS;
  const marks = new Map();
  const takeMark = (code) => {
    const used = new Set(marks.values());
    let place = isManyClasses ? 0 : code;
    while (isManyClasses && used.has(place) && place < N_MARKS - 1) place += 1;
    marks.set(code, place);
  };
  if (!isManyClasses) report.classes.forEach((_, code) => takeMark(code));
  const getMark = (code) => marks.get(code) ?? -1;
  const getShape = (mark) => (mark < 0 ? 0 : (mark % N_COLOURS + Math.floor(mark / N_COLOURS)) % SHAPES.length);
  const getColour = (mark) => (mark < 0 ? "--quiet" : `--mark-${mark % N_COLOURS}`);

  // Where a point is on the screen.
  const toX = (at) => MARGIN + (map.x[at] / map.units) * (width - 2 * MARGIN) * zoom + left;
  const toY = (at) => MARGIN + (map.y[at] / map.units) * (height - 2 * MARGIN) * zoom + top;
  const radius = () => Math.min(9, (n > 3000 ? 3 : n > 600 ? 4 : 5) * zoom ** 0.3);

  function draw() {
    waiting = false;
    const scale = window.devicePixelRatio || 1, style = getComputedStyle(plane), size = radius();
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const sprites = new Map();
    const side = Math.ceil(size * 3) + 2;
    const getSprite = (mark) => {
      if (!sprites.has(mark)) {
        const sprite = document.createElement("canvas");
        sprite.width = sprite.height = side * scale;
        const brush = sprite.getContext("2d"), path = new Path2D();
        brush.setTransform(scale, 0, 0, scale, (side / 2) * scale, (side / 2) * scale);
        path.addPath(new Path2D(SHAPES[getShape(mark)]), new DOMMatrix().scale(size));
        brush.fillStyle = style.getPropertyValue(getColour(mark));
        brush.strokeStyle = style.getPropertyValue("--paper");
        brush.lineWidth = 1;
        brush.fill(path);
        brush.stroke(path);
        sprites.set(mark, sprite);
      }
      return sprites.get(mark);
    };
    const isNear = (x, y) => x > -side && y > -side && x < width + side && y < height + side;
    pen.fillStyle = style.getPropertyValue("--hair");
    for (let at = 0; at < n; at += 1) {
      if (visible[at]) continue;
      const x = toX(at), y = toY(at);
      if (isNear(x, y)) pen.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
    for (let at = 0; at < n; at += 1) {
      if (!visible[at]) continue;
      const x = toX(at), y = toY(at);
      if (isNear(x, y)) pen.drawImage(getSprite(getMark(labels[at])), x - side / 2, y - side / 2, side, side);
    }
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.lineWidth = n > 3000 ? 1 : 1.5;
    pen.beginPath();
    for (let at = 0; at < n; at += 1) {
      if (!visible[at] || !wrong[at]) continue;
      const x = toX(at), y = toY(at);
      if (!isNear(x, y)) continue;
      pen.moveTo(x + size + 2.5, y);
      pen.arc(x, y, size + 2.5, 0, 2 * Math.PI);
    }
    pen.stroke();
    if (hovered >= 0) {
      pen.strokeStyle = style.getPropertyValue("--link");
      pen.lineWidth = 3;
      pen.beginPath();
      pen.arc(toX(hovered), toY(hovered), size + 5, 0, 2 * Math.PI);
      pen.stroke();
    }
    if (current >= 0) placePoint();
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  }

  function placePoint() {
    const x = toX(current), y = toY(current);
    point.style.left = `${Math.min(Math.max(x, 0), width)}px`;
    point.style.top = `${Math.min(Math.max(y, 0), height)}px`;
    if (!tip.hidden && tip.dataset.at === String(current)) placeTip(current);
  }

  // The image of a point, beside it: it stays while the pointer goes onto it, and Escape hides it.
  function showTip(at) {
    if (tip.dataset.at !== String(at)) {
      tip.dataset.at = String(at);
      tip.replaceChildren(makeFigure(map.rows[at]));
    }
    tip.hidden = false;
    placeTip(at);
  }

  function placeTip(at) {
    const x = toX(at), y = toY(at), gap = 14, w = tip.offsetWidth, h = tip.offsetHeight;
    const onRight = x + gap + w <= width || x < width / 2;
    tip.style.left = `${Math.max(4, Math.min(width - w - 4, onRight ? x + gap : x - gap - w))}px`;
    tip.style.top = `${Math.max(4, Math.min(height - h - 4, y - h / 2))}px`;
  }

  function hideTip() {
    tip.hidden = true;
    tip.dataset.at = "";
  }

  // The point that the keyboard is at.
  function setCurrent(at, say) {
    current = at;
    point.hidden = at < 0;
    if (at < 0) { hideTip(); return; }
    point.dataset.row = String(map.rows[at]);
    const said = [report.ids[map.rows[at]], ...describeRow(map.rows[at])].join(", ");
    point.setAttribute("aria-label", said);
    if (say) {
      const x = toX(at), y = toY(at);
      if (x < 0 || y < 0 || x > width || y > height) { left += width / 2 - x; top += height / 2 - y; limit(); }
      byId("said").textContent = said;
      hovered = -1;
      showTip(at);
    }
    redraw();
  }

  function findNext(dx, dy) {
    const x = toX(current), y = toY(current);
    let best = -1, least = Infinity;
    for (let at = 0; at < n; at += 1) {
      if (!visible[at] || at === current) continue;
      const over = toX(at) - x, down = toY(at) - y;
      const along = over * dx + down * dy, aside = Math.abs(over * dy) + Math.abs(down * dx);
      // Points at one place follow each other in the order of their rows.
      if (along === 0 && aside === 0 ? (at > current) !== (dx + dy > 0) : along <= 0 || aside > along) continue;
      const distance = along * along + aside * aside + (along === 0 ? Math.abs(at - current) * 1e-9 : 0);
      if (distance < least) { least = distance; best = at; }
    }
    return best;
  }

  function findAt(x, y) {
    let best = -1, least = REACH * REACH;
    for (let at = 0; at < n; at += 1) {
      if (!visible[at]) continue;
      const distance = (toX(at) - x) ** 2 + (toY(at) - y) ** 2;
      if (distance < least) { least = distance; best = at; }
    }
    return best;
  }

  // Zoom and pan.
  function limit() {
    left = Math.min(0.5 * width, Math.max(left, width - width * zoom - 0.5 * width));
    top = Math.min(0.5 * height, Math.max(top, height - height * zoom - 0.5 * height));
  }

  function zoomAt(factor, x = width / 2, y = height / 2) {
    const before = zoom;
    zoom = Math.min(MAX_ZOOM, Math.max(1, zoom * factor));
    left = x - MARGIN - ((x - MARGIN - left) * zoom) / before;
    top = y - MARGIN - ((y - MARGIN - top) * zoom) / before;
    if (zoom === 1) left = top = 0;
    limit();
    plane.classList.toggle("zoomed", zoom > 1);
    redraw();
  }

  function move(dx, dy) {
    left += dx;
    top += dy;
    limit();
    redraw();
  }

  const zoomAtCurrent = (factor) => (document.activeElement === point ? zoomAt(factor, toX(current), toY(current)) : zoomAt(factor));
  const actions = {
    in: () => zoomAtCurrent(1.6), out: () => zoomAtCurrent(1 / 1.6), all: () => zoomAt(0),
    left: () => move(0.2 * width, 0), right: () => move(-0.2 * width, 0),
    up: () => move(0, 0.2 * height), down: () => move(0, -0.2 * height),
  };
  for (const button of document.querySelectorAll("[data-map]")) button.addEventListener("click", actions[button.dataset.map]);

  const KEYS = { ArrowLeft: [-1, 0, "left"], ArrowRight: [1, 0, "right"], ArrowUp: [0, -1, "up"], ArrowDown: [0, 1, "down"] };
  point.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = KEYS[event.key];
    if (arrow && event.shiftKey) actions[arrow[2]]();
    else if (arrow) { const next = findNext(arrow[0], arrow[1]); if (next >= 0) setCurrent(next, true); }
    else if (event.key === "Home") setCurrent(order[0], true);
    else if (event.key === "End") setCurrent(order[order.length - 1], true);
    else if (event.key === "+" || event.key === "=") actions.in();
    else if (event.key === "-") actions.out();
    else if (event.key === "0") actions.all();
    else if (event.key === "Escape") hideTip();
    else return;
    event.preventDefault();
  });
  point.addEventListener("focus", () => setCurrent(current, true));
  point.addEventListener("blur", () => { if (hovered < 0) hideTip(); });
  point.addEventListener("click", () => openRow(current));

  function openRow(at) {
    openImages(report.ids[map.rows[at]], "", [map.rows[at]]);
  }

  // Pointers: hover shows, a click goes to a point, one finger or a drag pans, two pinch.
  const pointers = new Map();
  let hasMoved = false;
  const locate = (event) => {
    const box = plane.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  plane.addEventListener("pointerdown", (event) => {
    if (tip.contains(event.target) || event.button > 0) return;
    pointers.set(event.pointerId, locate(event));
    hasMoved = false;
  });
  plane.addEventListener("pointermove", (event) => {
    if (tip.contains(event.target)) return;
    const here = locate(event), before = pointers.get(event.pointerId);
    if (before) {
      const other = [...pointers.entries()].find(([id]) => id !== event.pointerId)?.[1];
      if (Math.hypot(here.x - before.x, here.y - before.y) < 4 && !hasMoved && !other) return;
      if (!hasMoved) { hasMoved = true; plane.setPointerCapture(event.pointerId); }
      if (other) {
        const spread = Math.hypot(here.x - other.x, here.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
        zoomAt(spread, (here.x + other.x) / 2, (here.y + other.y) / 2);
      }
      if (zoom > 1) move((here.x - before.x) / (other ? 2 : 1), (here.y - before.y) / (other ? 2 : 1));
      pointers.set(event.pointerId, here);
      return;
    }
    const at = findAt(here.x, here.y);
    if (at === hovered) return;
    hovered = at;
    if (at >= 0) showTip(at);
    else if (document.activeElement === point && current >= 0) showTip(current);
    else hideTip();
    redraw();
  });
  const release = (event) => {
    if (!pointers.delete(event.pointerId) || hasMoved || event.type !== "pointerup") return;
    const here = locate(event), at = findAt(here.x, here.y);
    if (at < 0) return;
    setCurrent(at, true);
    point.focus({ preventScroll: true });
  };
  for (const kind of ["pointerup", "pointercancel"]) plane.addEventListener(kind, release);
  plane.addEventListener("pointerleave", () => {
    if (hovered < 0) return;
    hovered = -1;
    if (document.activeElement === point && current >= 0) showTip(current);
    else hideTip();
    redraw();
  });
  plane.addEventListener("dblclick", (event) => { const here = locate(event); zoomAt(2, here.x, here.y); });
  plane.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !plane.contains(document.activeElement)) return;
    event.preventDefault();
    const here = locate(event);
    zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), here.x, here.y);
  }, { passive: false });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && hovered >= 0) { hovered = -1; hideTip(); redraw(); } });

  // The legend filters: nothing chosen shows all rows.
  function filter() {
    const { classes, splits, wrong: isWrongOnly } = chosen;
    visible = map.rows.map((row, at) => (!classes.size || classes.has(labels[at])) && (!splits.size || splits.has(report.rowSplits[row])) && (!isWrongOnly || wrong[at]));
    order = visible.flatMap((isShown, at) => (isShown ? [at] : []));
    plane.dataset.shown = String(order.length);
    byId("shown").textContent = order.length < n ? `${group(order.length)} of ${group(n)} rows shown` : `${group(n)} rows shown`;
    byId("clear").hidden = order.length === n && !classes.size && !splits.size && !isWrongOnly;
    if (byId("n-wrong")) byId("n-wrong").textContent = `(${group(wrong.filter(Boolean).length)})`;
    hovered = -1;
    setCurrent(current >= 0 && visible[current] ? current : order[0] ?? -1, false);
    if (document.activeElement === point && current >= 0) showTip(current);
    else hideTip();
    redraw();
  }

  function makeChip(name, count, isPressed, mark, toggle) {
    const chip = make("button", undefined, "chip");
    chip.type = "button";
    chip.setAttribute("aria-pressed", String(isPressed));
    if (mark !== undefined) {
      const sample = byId("mark").content.firstElementChild.cloneNode(true);
      sample.firstElementChild.setAttribute("d", SHAPES[getShape(mark)]);
      sample.firstElementChild.style.fill = `var(${getColour(mark)})`;
      chip.append(sample);
    }
    chip.append(make("span", name), make("span", group(count), "quiet"));
    chip.addEventListener("click", () => { toggle(chip.getAttribute("aria-pressed") !== "true"); filter(); });
    return chip;
  }

  const count = (values) => { const found = new Map(); for (const value of values) found.set(value, (found.get(value) ?? 0) + 1); return found; };
  const ofClass = count(labels), ofSplit = count(map.rows.map((row) => report.rowSplits[row]));
  const search = byId("search");

  function listClasses() {
    const word = search.value.trim().toLowerCase();
    const codes = report.classes.map((_, code) => code).filter((code) => report.classes[code].toLowerCase().includes(word));
    codes.sort((a, b) => chosen.classes.has(b) - chosen.classes.has(a) || a - b);
    const focused = document.activeElement?.dataset?.code;
    byId("classes").replaceChildren(...codes.slice(0, N_LISTED).map((code) => {
      const chip = makeChip(report.classes[code], ofClass.get(code) ?? 0, chosen.classes.has(code), getMark(code), (isOn) => {
        if (isOn) chosen.classes.add(code); else chosen.classes.delete(code);
        if (isManyClasses) { if (isOn) takeMark(code); else marks.delete(code); }
        listClasses();
      });
      chip.dataset.code = String(code);
      return chip;
    }));
    if (focused !== undefined) byId("classes").querySelector(`[data-code="${focused}"]`)?.focus();
    byId("found").textContent = codes.length > N_LISTED ? `${N_LISTED} of ${group(codes.length)} are listed.` : `${group(codes.length)} found.`;
  }

  function listSplits() {
    const codes = [...ofSplit.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b);
    byId("splits").replaceChildren(...codes.map((code) => makeChip(code < 0 ? "no split" : report.splits[code], ofSplit.get(code), chosen.splits.has(code), undefined, (isOn) => {
      if (isOn) chosen.splits.add(code); else chosen.splits.delete(code);
      listSplits();
    })));
  }

  if (byId("classes")) {
    byId("find").hidden = report.classes.length <= N_LISTED;
    search.addEventListener("input", listClasses);
    listClasses();
  }
  if (byId("splits")) listSplits();
  byId("wrong")?.addEventListener("click", (event) => {
    chosen.wrong = !chosen.wrong;
    event.currentTarget.setAttribute("aria-pressed", String(chosen.wrong));
    filter();
  });
  byId("head")?.addEventListener("change", (event) => {
    head = report.heads[Number(event.target.value)];
    wrong = map.rows.map((row) => isWrong(head, row));
    filter();
  });
  byId("clear")?.addEventListener("click", () => {
    chosen.classes.clear();
    chosen.splits.clear();
    chosen.wrong = false;
    if (isManyClasses) marks.clear();
    byId("wrong")?.setAttribute("aria-pressed", "false");
    if (byId("classes")) listClasses();
    if (byId("splits")) listSplits();
    filter();
    point.focus({ preventScroll: true });
  });

  function fit() {
    const scale = window.devicePixelRatio || 1;
    const before = width;
    width = plane.clientWidth;
    height = plane.clientHeight;
    left *= width / before;
    canvas.width = width * scale;
    canvas.height = height * scale;
    draw();  // at once: a new size has emptied the canvas
  }
  new ResizeObserver(fit).observe(plane);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  filter();
  fit();
}
