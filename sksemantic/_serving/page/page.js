"use strict";

const at = (id) => document.getElementById(id);
let models = [];

function headers() {
  const found = { "Content-Type": "application/json" };
  if (at("token").value) found.Authorization = `Bearer ${at("token").value}`;
  return found;
}

async function ask(path, body) {
  const options = { headers: headers() };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  const response = await fetch(path, options);
  const value = await response.json();
  if (response.ok) return value;
  if (response.status === 401) at("token-field").hidden = false;
  const detail = typeof value.detail === "string" ? value.detail : "The request is invalid.";
  throw new Error(detail);
}

function say(text, isError) {
  at("message").textContent = text;
  at("message").className = isError ? "error" : "quiet";
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function current() {
  return models.find((each) => each.name === at("model").value);
}

function showModel() {
  const model = current();
  at("facts").textContent = `A ${model.kind} on ${model.backbone}. Prompt: ${model.prompt}`;
  at("texts").replaceChildren();
  for (let i = 0; i < model.n_texts; i++) {
    const label = element("label", model.n_texts > 1 ? `Text ${i + 1}` : "Text");
    label.append(element("textarea"));
    at("texts").append(label);
  }
  at("answer").replaceChildren();
}

async function showModels() {
  models = await ask("models");
  at("model").replaceChildren(...models.map((each) => element("option", each.name)));
  if (models.length) showModel();
  say(models.length ? "" : "There are no models.");
}

function row(model) {
  const texts = [...at("texts").querySelectorAll("textarea")].map((each) => each.value);
  if (model.kind === "token classifier") return texts[0].split(/\s+/).filter(Boolean);
  return model.n_texts > 1 ? texts : texts[0];
}

function bars(names, values) {
  const order = values.map((_, i) => i).sort((a, b) => values[b] - values[a]);
  return order.slice(0, 20).map((i) => {
    const bar = element("div", undefined, "bar");
    const meter = element("meter");
    meter.max = 1;
    meter.value = values[i];
    bar.append(element("span", String(names[i])), meter);
    bar.append(element("span", values[i].toFixed(3), "value"));
    return bar;
  });
}

function colour(score, largest) {
  const strength = largest ? Math.min(1, Math.abs(score) / largest) : 0;
  return `rgba(${score > 0 ? "0, 150, 60" : "210, 40, 40"}, ${(0.6 * strength).toFixed(2)})`;
}

function words(explained) {
  const { names, column, scores } = explained;
  const own = scores.map((each) => each[column]);
  const largest = Math.max(...own.map(Math.abs), 0);
  const found = element("p", undefined, "words");
  explained.words.forEach((word, i) => {
    const mark = element("mark", word);
    mark.style.backgroundColor = colour(own[i], largest);
    mark.title = own[i].toFixed(3);
    found.append(mark, " ");
  });
  const about = `Green words speak for ${names[column]}, red ones against it.`;
  return [found, element("p", about, "quiet")];
}

async function answer(event) {
  event.preventDefault();
  const model = current();
  if (!model) return showModels();
  const body = { model: model.name, texts: [row(model)] };
  at("send").disabled = true;
  say("…");
  try {
    const { predictions } = await ask("predict", body);
    const shown = [];
    if (model.kind === "token classifier") {
      body.texts[0].forEach((word, i) => {
        const bar = element("div", undefined, "bar");
        bar.append(element("span", word), element("span", String(predictions[0][i])));
        shown.push(bar);
      });
    } else {
      shown.push(element("p", [predictions[0]].flat().join(", "), "result"));
    }
    if (model.kind === "classifier") {
      const { classes, probabilities } = await ask("predict_proba", body);
      shown.push(...bars(classes, probabilities[0]));
    }
    at("answer").replaceChildren(...shown);
    say("");
    if (model.methods.includes("explain")) {
      const { explanations } = await ask("explain", body);
      at("answer").append(...words(explanations[0]));
    }
  } catch (error) {
    say(error.message, true);
  } finally {
    at("send").disabled = false;
  }
}

at("form").addEventListener("submit", answer);
at("model").addEventListener("change", showModel);
at("token").addEventListener("change", () => showModels().catch((e) => say(e.message, true)));
showModels().catch((error) => say(error.message, true));
