// The page of `recon view`: a cloud or mesh, the camera's path, and three ways to look (orbit, fly, through the camera).
// The file's own axes exist only below `world`, which turns them to y up. Colours are drawn as they stand in the file.
"use strict";
(() => {
  addEventListener("error", (event) => say(`This page cannot be shown here: ${event.message}`)); // no WebGL, for example
  const facts = JSON.parse(byId("facts").textContent);
  const canvas = byId("canvas");
  const renderer = new three.WebGLRenderer({ canvas, antialias: true, powerPreference: "high-performance" });
  renderer.toneMapping = three.NoToneMapping;
  const scene = new three.Scene();
  const world = new three.Group();
  const eye = new three.PerspectiveCamera(50, 1, 0.01, 1000);
  const orbit = new three.OrbitControls(eye, canvas);
  const view = { mode: "orbit", playing: false, time: 0, speed: 1, pending: false, last: 0 };
  const held = new Set(); // keys that are down
  const fingers = new Map(); // pointers that are down while flying
  const samples = []; // some points of the model, in the file's axes
  const bounds = { center: new three.Vector3(), radius: 1, low: new three.Vector3(), high: new three.Vector3(), whole: 1 };
  let path = null; // poses in the order of time
  const options = new Map(new URLSearchParams(location.hash.slice(1)));
  let model = null; // { object, solids, wires }
  let cameras = null; // { object, now }
  let grid = null;

  const MOST_FRUSTUMS = 24;
  const SAMPLES = 6000;
  const HALF_TURN = new three.Quaternion(1, 0, 0, 0); // OpenCV's camera (y down, z forward) to three's (y up, -z forward)
  const UPS = {
    "+y": [0, 0, 0], "-y": [Math.PI, 0, 0], "+z": [-Math.PI / 2, 0, 0],
    "-z": [Math.PI / 2, 0, 0], "+x": [0, 0, Math.PI / 2], "-x": [0, 0, -Math.PI / 2],
  };

  start().catch((error) => say(`This page cannot be shown here: ${error.message}`));

  async function start() {
    setTheme(options.get("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
    document.body.classList.toggle("bare", options.has("bare"));
    await new Promise((done) => setTimeout(done)); // lets "Loading ..." appear
    model = await { cloud: loadCloud, glb: loadGlb }[facts.kind]();
    world.add(model.object);
    scene.add(world);
    takeSamples();
    cameras = makeCameras();
    if (cameras) world.add(cameras.object);
    setUp(facts.up);
    connect();
    reset();
    if (fromBehind()) byId("backs").click();
    applyOptions();
    say("");
    document.documentElement.dataset.ready = "yes";
  }

  // ---- data -------------------------------------------------------------------------------------------------------

  function byId(id) {
    return document.getElementById(id);
  }

  function say(text) {
    byId("message").textContent = text;
  }

  /** The bytes of a block of the page; its text is let go. */
  function bytes(id) {
    const element = byId(id);
    if (!element) return null;
    const text = element.textContent;
    element.remove();
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const data = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) data[i] = raw.charCodeAt(i);
    return data;
  }

  function floats(id) {
    const data = bytes(id);
    return data && new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
  }

  async function loadCloud() {
    const geometry = new three.BufferGeometry();
    geometry.setAttribute("position", new three.BufferAttribute(floats("positions"), 3));
    geometry.setAttribute("color", new three.BufferAttribute(bytes("colors"), 3, true));
    const normals = bytes("normals");
    if (normals) geometry.setAttribute("normal", new three.BufferAttribute(new Int8Array(normals.buffer), 3, true));
    return { object: pointsOf(geometry, facts.spacing), solids: [], wires: [] };
  }

  async function loadGlb() {
    const found = await new three.GLTFLoader().parseAsync(bytes("model").buffer, "");
    return modelOf(found.scene);
  }

  /** A scene whose meshes are drawn in their plain colours, without lights. */
  function modelOf(object) {
    const solids = [];
    const clouds = [];
    object.traverse((each) => {
      if (each.isMesh) solids.push(each);
      else if (each.isPoints) clouds.push(each);
    });
    solids.forEach(makePlain);
    clouds.forEach((each) => each.parent.add(pointsOf(each.geometry, 0)).remove(each));
    return { object, solids, wires: [] };
  }

  function makePlain(mesh) {
    const own = mesh.material;
    const plain = new three.MeshBasicMaterial({
      map: own.map || null, color: own.color, vertexColors: own.vertexColors, transparent: own.transparent,
      opacity: own.opacity, alphaTest: own.alphaTest, side: own.side,
      polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1,
    });
    if (plain.map) plain.map.anisotropy = renderer.capabilities.getMaxAnisotropy();
    mesh.material = plain;
    mesh.userData = { plain, shape: shapeMaterial(own.side) };
  }

  /** Grey, lit from the eye: what shows the shape alone. */
  function shapeMaterial(side) {
    return new three.ShaderMaterial({
      side,
      polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1,
      vertexShader: `varying vec3 seen;
        void main() { vec4 p = modelViewMatrix * vec4(position, 1.0); seen = p.xyz; gl_Position = projectionMatrix * p; }`,
      fragmentShader: `varying vec3 seen;
        void main() {
          vec3 normal = normalize(cross(dFdx(seen), dFdy(seen)));
          gl_FragColor = vec4(vec3(0.22 + 0.6 * abs(dot(normal, normalize(seen)))), 1.0);
        }`,
    });
  }

  /** Round points as large as their distance from each other; sRGB goes to the screen as it is. */
  function pointsOf(geometry, spacing) {
    const colored = geometry.hasAttribute("color");
    const material = new three.ShaderMaterial({
      uniforms: {
        size: { value: 2.2 * spacing }, factor: { value: 1 }, height: { value: 1 }, least: { value: 1.5 },
        backs: { value: false },
      },
      defines: { ...(colored && { COLORED: 1 }), ...(geometry.hasAttribute("normal") && { FACING: 1 }) },
      vertexShader: `attribute vec3 color; uniform float size, factor, height, least; uniform bool backs;
        varying vec3 shown; varying float across;
        void main() {
          vec4 p = modelViewMatrix * vec4(position, 1.0);
          gl_Position = projectionMatrix * p;
          across = factor * max(least, size * 0.5 * height * projectionMatrix[1][1] / max(-p.z, 1e-6));
          gl_PointSize = across = clamp(across, 1.0, 256.0);
          shown = vec3(0.5);
          #ifdef COLORED
            shown = color;
          #endif
          #ifdef FACING
            if (!backs && dot(normalMatrix * normal, p.xyz) > 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
          #endif
        }`,
      fragmentShader: `varying vec3 shown; varying float across;
        void main() {
          vec2 from = gl_PointCoord - 0.5;
          if (across > 3.0 && dot(from, from) > 0.25) discard;
          gl_FragColor = vec4(shown, 1.0);
        }`,
    });
    const points = new three.Points(geometry, material);
    points.frustumCulled = false;
    return points;
  }

  /** A part of all points, and how far the farthest reach. */
  function takeSamples() {
    world.updateMatrixWorld(true);
    const clouds = [];
    model.object.traverse((each) => each.geometry && clouds.push(each));
    const total = clouds.reduce((sum, each) => sum + each.geometry.attributes.position.count, 0);
    const step = Math.max(1, Math.floor(total / SAMPLES));
    for (const each of clouds) {
      const { position, normal } = each.geometry.attributes;
      for (let i = 0; i < position.count; i += step) {
        const sample = new three.Vector3().fromBufferAttribute(position, i).applyMatrix4(each.matrixWorld);
        if (normal) sample.normal = new three.Vector3().fromBufferAttribute(normal, i).transformDirection(each.matrixWorld);
        samples.push(sample);
      }
      each.geometry.computeBoundingSphere();
    }
    bounds.spheres = clouds.map((each) => each.geometry.boundingSphere.clone().applyMatrix4(each.matrixWorld));
  }

  /** Whether the first view shows hardly anything but back sides: then they had better be drawn. */
  function fromBehind() {
    const from = world.worldToLocal(eye.position.clone());
    const known = samples.filter((each) => each.normal && each.normal.lengthSq() > 0.1);
    return known.filter((each) => each.normal.dot(from.clone().sub(each)) < 0).length > 0.8 * known.length;
  }

  // ---- the world, its bounds and its grid -------------------------------------------------------------------------

  function setUp(axis) {
    byId("up").value = axis;
    world.rotation.set(...UPS[axis]);
    world.updateMatrixWorld(true);
    measure();
    makeGrid();
    invalidate();
  }

  /** Bounds that a few stray points do not stretch. */
  function measure() {
    const turned = samples.map((each) => each.clone().applyMatrix4(world.matrixWorld));
    for (const axis of ["x", "y", "z"]) {
      const values = turned.map((each) => each[axis]).sort((a, b) => a - b);
      bounds.low[axis] = values[Math.floor(0.01 * (values.length - 1))];
      bounds.high[axis] = values[Math.ceil(0.99 * (values.length - 1))];
    }
    bounds.center.addVectors(bounds.low, bounds.high).multiplyScalar(0.5);
    bounds.radius = Math.max(bounds.low.distanceTo(bounds.high) / 2, 1e-6);
    const reach = bounds.spheres.map((each) => each.center.clone().applyMatrix4(world.matrixWorld).distanceTo(bounds.center) + each.radius);
    bounds.whole = Math.max(bounds.radius, ...reach);
  }

  /** 1, 2 or 5 times a power of ten, at most `length`. */
  function nice(length) {
    const power = 10 ** Math.floor(Math.log10(length));
    return power * [5, 2, 1].find((each) => each * power <= length * 1.0001);
  }

  function told(length) {
    if (facts.units !== "m") return `${+length.toPrecision(3)} ${length === 1 ? "unit" : "units"}`;
    if (length >= 1000) return `${+(length / 1000).toPrecision(3)} km`;
    if (length >= 1) return `${+length.toPrecision(3)} m`;
    return length >= 0.01 ? `${+(length * 100).toPrecision(3)} cm` : `${+(length * 1000).toPrecision(3)} mm`;
  }

  function makeGrid() {
    if (grid) scene.remove(grid);
    const cell = nice(bounds.radius / 4);
    const [x0, z0] = [bounds.low.x, bounds.low.z].map((each) => (Math.floor(each / cell) - 1) * cell);
    const [x1, z1] = [bounds.high.x, bounds.high.z].map((each) => (Math.ceil(each / cell) + 1) * cell);
    const y = bounds.low.y;
    const ends = [];
    for (let x = x0; x <= x1 + cell / 2; x += cell) ends.push(x, y, z0, x, y, z1);
    for (let z = z0; z <= z1 + cell / 2; z += cell) ends.push(x0, y, z, x1, y, z);
    grid = new three.LineSegments(lines(ends), new three.LineBasicMaterial({ color: css("--grid") }));
    grid.visible = byId("grid").checked;
    scene.add(grid);
    byId("cell").textContent = told(cell);
  }

  function lines(ends) {
    return new three.BufferGeometry().setAttribute("position", new three.BufferAttribute(new Float32Array(ends), 3));
  }

  // ---- the camera's path ------------------------------------------------------------------------------------------

  function makeCameras() {
    const rows = floats("poses");
    if (!rows) return null;
    path = readPoses(rows);
    const object = new three.Group();
    const shape = frustum(0.05 * sceneSize());
    const step = Math.max(1, Math.ceil(path.length / MOST_FRUSTUMS));
    const ends = path.filter((_, i) => i % step === 0).flatMap((pose) => placed(shape, pose));
    const all = new three.LineSegments(lines(ends), new three.LineBasicMaterial({ color: css("--path"), transparent: true, opacity: 0.45 }));
    const way = new three.LineSegments(lines(pathEnds()), new three.LineBasicMaterial({ color: css("--path") }));
    const now = new three.LineSegments(lines(placed(frustum(0.08 * sceneSize()), { position: new three.Vector3(), turn: new three.Quaternion() })), new three.LineBasicMaterial({ color: css("--now") }));
    object.add(all, way, now);
    return { object, now };
  }

  function readPoses(rows) {
    const path = [];
    for (let i = 0; i < rows.length; i += 8) {
      const turn = new three.Quaternion(...rows.subarray(i + 4, i + 8)).multiply(HALF_TURN);
      path.push({ time: rows[i], position: new three.Vector3(...rows.subarray(i + 1, i + 4)), turn });
    }
    const steps = path.slice(1).map((pose, i) => pose.time - path[i].time).sort((a, b) => a - b);
    path.gap = Math.max(0.25, 4 * (steps[steps.length >> 1] || 0)); // longer ones: nobody knows where the camera was
    path.end = path[path.length - 1].time;
    return path;
  }

  function sceneSize() {
    const middle = samples.map((each) => each.distanceTo(path[0].position)).sort((a, b) => a - b);
    return middle[middle.length >> 1] || 1;
  }

  function pathEnds() {
    const near = path.slice(1).map((pose, i) => [path[i], pose]).filter(([a, b]) => b.time - a.time <= path.gap);
    return near.flatMap(([a, b]) => [...a.position.toArray(), ...b.position.toArray()]);
  }

  /** Borders of the picture at unit depth: left, right, top, bottom; y up. */
  function borders() {
    const c = facts.camera;
    if (!c) return { left: -0.77, right: 0.77, top: 0.433, bottom: -0.433 }; // 75 degrees, 16:9
    return { left: -c.cx / c.fx, right: (c.width - c.cx) / c.fx, top: c.cy / c.fy, bottom: (c.cy - c.height) / c.fy };
  }

  /** Ends of the lines of a camera whose picture is `depth` away; a small roof says which side is up. */
  function frustum(depth) {
    const { left, right, top, bottom } = borders();
    const [a, b, c, d] = [[left, top], [right, top], [right, bottom], [left, bottom]].map(([x, y]) => [x * depth, y * depth, -depth]);
    const o = [0, 0, 0];
    const third = (right - left) / 6;
    const [p, q] = [left + 2 * third, right - 2 * third].map((x) => [x * depth, (top + 0.06) * depth, -depth]);
    const roof = [((left + right) / 2) * depth, (top + 0.06 + third) * depth, -depth];
    return [o, a, o, b, o, c, o, d, a, b, b, c, c, d, d, a, p, roof, roof, q, q, p];
  }

  function placed(shape, pose) {
    return shape.flatMap((end) => new three.Vector3(...end).applyQuaternion(pose.turn).add(pose.position).toArray());
  }

  /** Between two poses: straight and evenly; in a gap, the pose before it. */
  function poseAt(time) {
    let after = path.findIndex((pose) => pose.time >= time);
    if (after < 0) after = path.length - 1;
    const [a, b] = [path[Math.max(after - 1, 0)], path[after]];
    const span = b.time - a.time;
    if (span <= 0 || time >= b.time) return b;
    const share = span > path.gap ? 0 : Math.max(0, time - a.time) / span;
    return { position: a.position.clone().lerp(b.position, share), turn: a.turn.clone().slerp(b.turn, share) };
  }

  function setTime(time) {
    view.time = Math.min(Math.max(time, 0), path.end);
    byId("time").value = path.end ? view.time / path.end : 0;
    byId("clock").textContent = `${(facts.start + view.time).toFixed(2)} / ${(facts.start + path.end).toFixed(2)} s`;
    const pose = poseAt(view.time);
    cameras.now.position.copy(pose.position);
    cameras.now.quaternion.copy(pose.turn);
    if (view.mode === "look") lookFrom(pose);
    invalidate();
  }

  function step(by) {
    const now = path.reduce((best, pose, i) => (Math.abs(pose.time - view.time) < Math.abs(path[best].time - view.time) ? i : best), 0);
    setTime(path[Math.min(Math.max(now + by, 0), path.length - 1)].time);
  }

  function setPlaying(on) {
    view.playing = on && path !== null && path.end > 0;
    byId("play").classList.toggle("playing", view.playing);
    if (view.playing && view.time >= path.end) setTime(0);
    invalidate();
  }

  // ---- ways to look -----------------------------------------------------------------------------------------------

  function setMode(mode) {
    if (view.mode === "look" && mode !== "look") eye.up.set(0, 1, 0);
    view.mode = mode;
    orbit.enabled = mode === "orbit";
    fingers.clear();
    for (const each of ["orbit", "fly", "look"]) byId(each).setAttribute("aria-pressed", String(each === mode));
    byId("frame").hidden = mode !== "look";
    if (mode === "look") setTime(view.time);
    else project();
    if (mode === "orbit") aimAhead();
    invalidate();
  }

  /** Orbit around what is in the middle of the view. */
  function aimAhead() {
    orbit.target.copy(eye.position).addScaledVector(ahead(), focus());
    orbit.update();
  }

  function ahead() {
    return new three.Vector3(0, 0, -1).applyQuaternion(eye.quaternion);
  }

  /** Distance of what is in the middle of the view: the median there, the scene's size where nothing is. */
  function focus() {
    eye.updateMatrixWorld();
    const found = [];
    const seen = new three.Vector3();
    for (const each of samples) {
      seen.copy(each).applyMatrix4(world.matrixWorld).applyMatrix4(eye.matrixWorldInverse);
      const depth = -seen.z;
      seen.applyMatrix4(eye.projectionMatrix);
      if (depth > 0 && Math.abs(seen.x) < 0.35 && Math.abs(seen.y) < 0.35) found.push(depth);
    }
    found.sort((a, b) => a - b);
    return found.length > 4 ? found[found.length >> 1] : bounds.radius;
  }

  function reset() {
    setPlaying(false);
    if (view.mode !== "orbit") setMode("orbit");
    eye.fov = 50;
    project();
    const first = firstPose();
    if (first) behind(first);
    else outside();
    view.speed = 1;
    if (path) setTime(0);
    orbit.update();
    invalidate();
  }

  /** Where the video begins: the first pose, or the origin, from which an estimated world is seen. */
  function firstPose() {
    if (path) return path[0];
    const tilt = facts.up === "+z" ? Math.PI / 2 : 0; // of -z, so that it looks along the file's forward
    return facts.first ? { position: new three.Vector3(), turn: new three.Quaternion().setFromEuler(new three.Euler(tilt)) } : null;
  }

  /** A little behind and above a camera, so that it is seen with what it sees. */
  function behind(pose) {
    eye.position.copy(pose.position).applyMatrix4(world.matrixWorld);
    eye.quaternion.copy(world.quaternion).multiply(pose.turn);
    const distance = focus();
    orbit.target.copy(eye.position).addScaledVector(ahead(), distance);
    eye.position.addScaledVector(ahead(), -0.8 * distance);
    eye.position.y += 0.3 * distance;
  }

  function outside() {
    const distance = bounds.radius / Math.sin((Math.min(eye.fov, eye.fov * eye.aspect) * Math.PI) / 360);
    orbit.target.copy(bounds.center);
    eye.position.set(0.5, 0.45, 0.8).normalize().multiplyScalar(distance).add(bounds.center);
  }

  /** The picture's frame in the window, and the window's projection that makes it the camera's own. */
  function lookFrom(pose) {
    eye.position.copy(pose.position).applyMatrix4(world.matrixWorld);
    eye.quaternion.copy(world.quaternion).multiply(pose.turn);
    project();
  }

  function project() {
    const far = eye.position.distanceTo(bounds.center) + 2 * bounds.whole;
    eye.far = far;
    eye.near = Math.max(far * 2e-5, Math.min(bounds.radius * 2e-3, far * 1e-3));
    eye.updateProjectionMatrix();
    if (view.mode === "look") projectPicture();
  }

  function projectPicture() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const { left, right, top, bottom } = borders();
    const unit = Math.max((right - left) / width, (top - bottom) / height) * (options.has("bare") ? 1 : 1.25); // per pixel
    const [cx, cy] = [(left + right) / 2, (top + bottom) / 2];
    const [x, y] = [(unit * width) / 2, (unit * height) / 2];
    const n = eye.near;
    eye.projectionMatrix.makePerspective((cx - x) * n, (cx + x) * n, (cy + y) * n, (cy - y) * n, n, eye.far);
    eye.projectionMatrixInverse.copy(eye.projectionMatrix).invert();
    const [w, h] = [(right - left) / unit, (top - bottom) / unit];
    Object.assign(byId("frame").style, { left: `${(width - w) / 2}px`, top: `${(height - h) / 2}px`, width: `${w}px`, height: `${h}px` });
  }

  // ---- flying -----------------------------------------------------------------------------------------------------

  const MOVES = {
    KeyW: [0, 0, -1], ArrowUp: [0, 0, -1], KeyS: [0, 0, 1], ArrowDown: [0, 0, 1], KeyA: [-1, 0, 0], ArrowLeft: [-1, 0, 0],
    KeyD: [1, 0, 0], ArrowRight: [1, 0, 0], KeyE: [0, 1, 0], PageUp: [0, 1, 0], KeyQ: [0, -1, 0], PageDown: [0, -1, 0],
  };

  function move(seconds) {
    const way = new three.Vector3();
    held.forEach((code) => MOVES[code] && way.add(new three.Vector3(...MOVES[code])));
    if (!way.lengthSq()) return false;
    walk(way.normalize(), seconds * (held.has("ShiftLeft") || held.has("ShiftRight") ? 4 : 1));
    return true;
  }

  /** Sideways and ahead as the eye looks, up and down as the world is. */
  function walk(way, seconds) {
    const rise = way.y;
    const along = way.clone().setY(0).applyQuaternion(eye.quaternion);
    along.y += rise;
    eye.position.addScaledVector(along, seconds * view.speed * bounds.radius * 0.35);
  }

  function turn(dx, dy) {
    const scale = (eye.fov * Math.PI) / 180 / canvas.clientHeight;
    const e = eye.rotation.reorder("YXZ");
    const limit = Math.PI / 2 - 0.01;
    e.set(Math.max(-limit, Math.min(limit, e.x + dy * scale)), e.y + dx * scale, 0);
  }

  function pointerDown(event) {
    canvas.focus({ preventScroll: true });
    if (view.mode === "look") setMode("orbit");
    setPlaying(false);
    if (view.mode !== "fly") return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event.button === 2);
  }

  function pointerMove(event) {
    if (view.mode !== "fly" || !fingers.has(event.pointerId)) return;
    const [dx, dy] = [event.movementX, event.movementY];
    if (fingers.size > 1 || fingers.get(event.pointerId)) walk(new three.Vector3(dx, 0, dy).multiplyScalar(1 / 200), 1);
    else turn(dx, dy);
    invalidate();
  }

  function pointerUp(event) {
    fingers.delete(event.pointerId);
  }

  function wheel(event) {
    if (view.mode === "look") setMode("orbit");
    if (view.mode !== "fly") return;
    event.preventDefault();
    view.speed = Math.min(20, Math.max(0.02, view.speed * 0.999 ** event.deltaY));
  }

  // ---- picking ----------------------------------------------------------------------------------------------------

  function pick(event) {
    const place = new three.Vector2((2 * event.clientX) / canvas.clientWidth - 1, 1 - (2 * event.clientY) / canvas.clientHeight);
    const ray = new three.Raycaster();
    ray.params.Points.threshold = Math.max(facts.spacing, 0.003 * eye.position.distanceTo(orbit.target));
    ray.setFromCamera(place, eye);
    const hit = ray.intersectObject(model.object, true)[0];
    if (!hit) return;
    if (view.mode !== "orbit") setMode("orbit");
    eye.position.add(hit.point).sub(orbit.target);
    orbit.target.copy(hit.point);
    orbit.update();
    invalidate();
  }

  // ---- what is drawn ----------------------------------------------------------------------------------------------

  function setWires(on) {
    if (on && !model.wires.length) {
      const material = new three.MeshBasicMaterial({ wireframe: true, color: css("--wire"), transparent: true, opacity: 0.5 });
      model.wires = model.solids.map((each) => new three.Mesh(each.geometry, material));
      model.wires.forEach((each, i) => model.solids[i].parent.add(each) && each.applyMatrix4(model.solids[i].matrix));
    }
    model.wires.forEach((each) => { each.visible = on; });
  }

  function setTexture(on) {
    model.solids.forEach((each) => { each.material = on ? each.userData.plain : each.userData.shape; });
  }

  function setBacks(on) {
    const side = on ? three.DoubleSide : three.FrontSide;
    for (const each of model.solids) for (const material of [each.userData.plain, each.userData.shape]) material.side = side;
    forPoints((uniforms) => { uniforms.backs.value = on; });
  }

  function forPoints(change) {
    model.object.traverse((each) => each.isPoints && change(each.material.uniforms));
  }

  function setTheme(name) {
    document.documentElement.dataset.theme = name;
    renderer.setClearColor(css("--paper"), 1);
    if (grid) grid.material.color.set(css("--grid"));
    if (model) model.wires.forEach((each) => each.material.color.set(css("--wire")));
    if (cameras) cameras.object.children.forEach((each) => each.material.color.set(css(each === cameras.now ? "--now" : "--path")));
    invalidate();
  }

  function css(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function drawScale() {
    const element = byId("scale");
    const distance = view.mode === "orbit" ? eye.position.distanceTo(orbit.target) : focus();
    const pixels = (canvas.clientHeight / 2) * (eye.projectionMatrix.elements[5] / distance); // for one unit
    const length = nice(130 / pixels);
    element.firstElementChild.style.width = `${length * pixels}px`;
    element.lastElementChild.textContent = `${told(length)}, ${told(distance)} away`;
  }

  function resize() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    renderer.setSize(width, height, false);
    eye.aspect = width / Math.max(height, 1);
    project();
    draw(); // at once: a resized canvas is empty
  }

  /** Draws the next frame; nothing is drawn while nothing changes. */
  function invalidate() {
    if (view.pending || !model) return;
    view.pending = true;
    requestAnimationFrame(frame);
  }

  function frame(now) {
    view.pending = false;
    const going = advance(view.last ? (now - view.last) / 1000 : 0);
    draw();
    view.last = going ? now : 0;
    if (going) invalidate();
  }

  function advance(seconds) {
    if (view.playing) {
      setTime(view.time + seconds);
      if (view.time >= path.end) setPlaying(false);
    }
    const moved = view.mode === "fly" && move(Math.min(0.1, seconds));
    const swung = view.mode === "orbit" && orbit.update();
    return view.playing || moved || swung;
  }

  function draw() {
    if (!model) return;
    project();
    if (cameras) cameras.now.visible = view.mode !== "look";
    if (cameras) cameras.object.visible = byId("cameras").checked && view.mode !== "look";
    forPoints((uniforms) => { uniforms.height.value = renderer.domElement.height; });
    renderer.render(scene, eye);
    drawScale();
  }

  // ---- buttons and keys -------------------------------------------------------------------------------------------

  function connect() {
    byId("panel").open = innerWidth > 640;
    const meshes = model.solids.length > 0;
    const colored = model.solids.some((each) => each.material.map || each.material.vertexColors);
    byId("row-points").hidden = byId("row-size").hidden = meshes;
    for (const each of ["surface", "wires", "texture"]) byId(`row-${each}`).hidden = !meshes;
    byId("row-cameras").hidden = byId("look").hidden = byId("timeline").hidden = !cameras;
    if (meshes && !colored) [byId("texture").checked, byId("texture").disabled] = [false, true];
    connectPanel();
    connectPointer();
    addEventListener("keydown", keyDown);
    addEventListener("keyup", (event) => held.delete(event.code));
    addEventListener("blur", () => held.clear());
    new ResizeObserver(resize).observe(canvas);
    resize();
    for (const each of ["wires", "texture", "backs"]) byId(each).dispatchEvent(new Event("change"));
  }

  function connectPanel() {
    const toggles = {
      points: (on) => { model.object.visible = on; },
      surface: (on) => model.solids.forEach((each) => { each.visible = on; }),
      wires: setWires, texture: setTexture, backs: setBacks, cameras: () => {},
      grid: (on) => { grid.visible = on; },
    };
    for (const [id, change] of Object.entries(toggles)) on(id, "change", () => change(byId(id).checked));
    for (const mode of ["orbit", "fly", "look"]) on(mode, "click", () => setMode(mode));
    on("size", "input", () => forPoints((uniforms) => { uniforms.factor.value = 2 ** byId("size").value; }));
    on("up", "change", () => { setUp(byId("up").value); reset(); });
    on("reset", "click", reset);
    on("theme", "click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
    on("help", "click", () => byId("keys").showModal());
    on("play", "click", play);
    on("time", "input", () => { setPlaying(false); setMode("look"); setTime(byId("time").value * path.end); });
  }

  function on(id, event, action) {
    byId(id).addEventListener(event, () => { action(); invalidate(); });
  }

  function connectPointer() {
    Object.assign(orbit, { enableDamping: true, dampingFactor: 0.12, zoomToCursor: true, screenSpacePanning: true });
    orbit.addEventListener("change", invalidate);
    canvas.addEventListener("pointerdown", pointerDown);
    canvas.addEventListener("pointermove", pointerMove);
    for (const each of ["pointerup", "pointercancel"]) canvas.addEventListener(each, pointerUp);
    canvas.addEventListener("wheel", wheel, { passive: false });
    canvas.addEventListener("dblclick", pick);
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  function play() {
    if (view.mode !== "look") setMode("look");
    setPlaying(!view.playing);
  }

  const KEYS = {
    KeyO: () => setMode("orbit"), KeyF: () => setMode("fly"), KeyC: () => path && setMode("look"), KeyR: reset,
    Space: () => path && play(), Comma: () => path && step(-1), Period: () => path && step(1),
    KeyX: () => byId("wires").click(), KeyT: () => byId("texture").click(), KeyB: () => byId("backs").click(),
    KeyV: () => byId("cameras").click(), KeyG: () => byId("grid").click(), KeyL: () => byId("theme").click(),
    BracketLeft: () => resizePoints(-1), BracketRight: () => resizePoints(1), Slash: () => byId("keys").showModal(),
  };

  function resizePoints(by) {
    byId("size").value = +byId("size").value + 0.4 * by;
    byId("size").dispatchEvent(new Event("input"));
  }

  function keyDown(event) {
    const typing = event.target !== canvas && event.target !== document.body;
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
    if (typing && !(event.target.type === "checkbox" && event.code.startsWith("Key"))) return;
    held.add(event.code);
    if (MOVES[event.code]) {
      if (view.mode !== "fly") { setPlaying(false); setMode("fly"); }
    } else if (!KEYS[event.code] || event.repeat) return;
    else KEYS[event.code]();
    event.preventDefault();
    invalidate();
  }

  /** What the address says behind #: theme, bare, mode=orbit|fly|look, time, eye=x,y,z and target=x,y,z in the file's axes. */
  function applyOptions() {
    const place = (name) => new three.Vector3(...options.get(name).split(",").map(Number)).applyMatrix4(world.matrixWorld);
    for (const each of ["points", "surface", "wires", "texture", "backs", "cameras", "grid"]) {
      if (options.has(each) && byId(each).checked !== (options.get(each) === "1")) byId(each).click();
    }
    if (options.has("eye")) eye.position.copy(place("eye"));
    if (options.has("target")) orbit.target.copy(place("target"));
    orbit.update();
    if (["fly", "look"].includes(options.get("mode"))) setMode(options.get("mode"));
    if (path && options.has("time")) setTime(Number(options.get("time")) - facts.start);
    draw();
  }
})();
