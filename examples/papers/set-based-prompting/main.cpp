// R. McIlroy-Young, K. Brown, C. Olson, L. Zhang, C. Dwork, "Order-Independence Without Fine Tuning", NeurIPS 2024,
// arXiv:2406.06581.
//
// Claim: options of a prompt that start at the same position and do not see each other leave the output of any causal Transformer
// without dependence on their order, at inference, and at little cost in accuracy.
//
// Differs from the paper: SmolLM2-135M and questions from WordNet instead of models of 7 to 13 thousand million weights and CSQA, MMLU.
#include <cstdlib>
#include <ctime>
#include <iostream>

#include <gradus/app/args.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>
#include <gradus/data/tokenizer.hpp>

#include "model.hpp"
#include "questions.hpp"

using namespace gradus;
using namespace sbp;

struct Options {
  std::string model, data, wordnet = "/usr/share/wordnet", orders = "", score = "ll", gen_pos = "edited";
  std::vector<std::string> variants;
  int64_t n = 0, k = 4, gen = 10;
  bool padded = false, canonical = false, random_model = false, plan = false;
};

// What one prompt and variant gave over its orders.
struct Answers {
  std::vector<std::size_t> choice;  // by content, one an order: given, (others,) reversed last
  std::vector<Ids> text;            // greedy continuations
  double spread = 0;
  bool all = false;
  std::size_t right(std::size_t label) const { return static_cast<std::size_t>(std::count(choice.begin(), choice.end(), label)); }
  bool flips() const { return std::count(choice.begin(), choice.end(), choice[0]) != static_cast<std::ptrdiff_t>(choice.size()); }
};

template <class D>
struct Runner {
  const models::BasicLlama<float, D>& m;
  const data::BpeTokenizer& t;
  const Options& o;
  bool total = o.gen_pos == "total";

  Parts<Ids> tokens(const Question& q) const { return tokenize(parse(q.prompt()), t); }
  Answers ask(const Question& q, Variant v, bool all) const {
    const auto prompt = tokens(q);
    std::vector<Ids> options;
    for (std::size_t i = 0; i < q.options.size(); ++i)
      options.push_back(t.encode(o.score == "ll" ? q.quoted(i) : q.options[i], false));
    int64_t room = o.gen;
    for (const Ids& s : options) room += static_cast<int64_t>(s.size());
    Answers a;
    a.all = all;
    Spread<float, D> spread;
    for (const auto& order : orders(q.options.size(), all)) {
      const auto p = reordered(prompt, order);
      Reading<float, D> r(m, layout(o.canonical && invariant(v) ? canonical(p) : p, v), room);
      spread.add(r.logits);
      const auto s = o.score == "ll" ? r.log_likelihoods(options) : r.max_logits(options, std::max<int64_t>(o.gen, 1), total);
      a.choice.push_back(static_cast<std::size_t>(std::max_element(s.begin(), s.end()) - s.begin()));
      if (invariant(v) && o.gen > 0) a.text.push_back(r.generate(o.gen, total));
    }
    a.spread = spread.value();
    return a;
  }
};

// Exact checks on a random model, over all 24 orders of 4 unequal sub-sequences.
std::vector<std::pair<Variant, double>> exact(app::Metrics& metrics, uint64_t seed) {
  const auto m = random_model<double>(seed, 2);
  const models::Llama f(m);
  const auto p = random_prompt(97, seed + 1);
  std::vector<std::pair<Variant, double>> out;
  for (const auto v : kVariants) out.emplace_back(v, spread(m, p, v));
  for (const auto& [v, s] : out)
    if (invariant(v)) metrics.check(std::string("random model: spread of ") + name_of(v) + ", 24 orders, float64", s, "<=", 1e-10);
    else metrics.check(std::string("random model: spread of ") + name_of(v), s, ">=", 0.1);
  metrics.check("random model: spread of SBP, float32", spread(f, p, Variant::sbp), "<=", 5e-4);
  metrics.check("random model: spread of SBP in canonical order, float32", spread(f, p, Variant::sbp, true, true), "==", 0);
  metrics.check("random model: states of s_i less those of A || s_i", state_difference(m, p), "<=", 1e-10);
  metrics.check("random model: the same, float32", state_difference(f, p), "<=", 1e-4);
  metrics.check("random model: one sub-sequence less the causal logits, float32", single_difference(f, p), "<=", 1e-5);
  metrics.check("allowed pairs less N (N + 1) / 2 - sum n_i n_j",
                static_cast<double>(sum(cast<int64_t>(layout(p, Variant::sbp).mask)).item() - allowed_pairs(p)), "==", 0);
  return out;
}

std::vector<Variant> chosen(const Options& o) {
  std::vector<Variant> list;
  for (const auto v : kVariants)
    if (o.variants.empty() || std::find(o.variants.begin(), o.variants.end(), name_of(v)) != o.variants.end()) list.push_back(v);
  return list;
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  app::Metrics metrics("set-based-prompting", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  const double begin = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  app::Report report("Set-Based Prompting");
  report
      .citation("R. McIlroy-Young, K. Brown, C. Olson, L. Zhang, C. Dwork, Order-Independence Without Fine Tuning, NeurIPS 2024",
                "https://arxiv.org/abs/2406.06581")
      .claim("Sub-sequences that start at the same position and do not see each other leave the output of a causal Transformer "
             "without dependence on their order.");
  const auto random_spread = exact(metrics, args.seed);
  app::Bars bars{.title = "Spread on the random model", .y_label = "log10 of the spread, float64"};
  std::vector<double> height;
  for (const auto& [v, s] : random_spread) bars.groups.push_back(name_of(v)), height.push_back(std::log10(std::max(s, 1e-17)));
  bars.add("all 24 orders", height);
  report.plot(bars, "random-spread");

  const auto picture = [&](const Parts<Ids>& p, const std::string& which) {  // mask and positions of one prompt
    const Layout l = layout(p, Variant::sbp);
    app::Heatmap h{.title = "Who sees whom", .x_label = "key", .y_label = "query", .note = which};
    h.rows = h.columns = static_cast<std::size_t>(l.size());
    h.values = cast<double>(l.mask).to_vector();
    app::Plot at{.title = "Positions", .x_label = "place in storage", .y_label = "position"};
    const auto place = arange<double>(0, static_cast<double>(l.size())).to_vector();
    at.points("set-based prompting", place, l.position).dashed("as stored", place, place);
    report.plot(h, "mask").plot(at, "positions");
  };

  const bool absent = !std::filesystem::exists(o.model) || (o.data.empty() && !std::filesystem::exists(o.wordnet + "/data.noun"));
  if (o.random_model || absent || args.setting == app::Setting::smoke) {
    if (absent && args.setting != app::Setting::smoke)
      std::cout << "random model alone: no " << o.model << " or no questions; third_party/install.sh --with smollm2 --with wordnet\n";
    picture(random_prompt(97, args.seed + 1), "Random prompt of the exact checks");
  } else {
    const io::GgufFile file(o.model);
    const models::BasicLlama<float, D> m(models::Llama::from_gguf(file));
    const auto t = data::BpeTokenizer::from_gguf(file);
    const Runner<D> run{m, t, o};
    const auto n = static_cast<std::size_t>(o.n > 0 ? o.n : args.pick<int64_t>(2, 12, 60, 100000));
    const auto with_all = o.orders == "all" ? n : o.orders == "2" ? 0 : args.pick<std::size_t>(0, 1, 15, 0);
    const auto variants = chosen(o);
    std::vector<double> spreads_sbp, spreads_normal, spreads_mask, spreads_position;
    double worst_all = 0, best_all = 0, mean_all = 0, sbp_all = 0, all_n = 0, flips_all = 0, flips_sbp = 0;
    double mean_of_orders = 0, sbp_of_orders = 0, most_sbp = 0, changed = 0, questions = 0, wandering = 0, wandering_n = 0;
    for (int seed = 0; seed < args.seeds && !app::interrupted(); ++seed) {
      const auto list = o.data.empty()
                            ? wordnet_questions(o.wordnet, n, static_cast<std::size_t>(o.k), args.seed + static_cast<uint64_t>(seed))
                            : jsonl_questions(o.data, n);
      if (seed == 0) {
        const auto p = run.tokens(list[0]);
        picture(p, list[0].prompt());
        double scale = 0;
        const double d = state_difference(m, p, &scale);
        metrics.check("states of s_i less those of A || s_i, every layer", d, "<=", 1e-4);
        metrics.check("the same over the largest state (" + app::figure(scale, 3) + ")", d / scale, "<=", 1e-5);
        metrics.check("one sub-sequence less the causal logits", single_difference(m, p), "<=", 1e-5);
      }
      app::Progress progress(static_cast<int64_t>(list.size() * variants.size()), "questions");
      std::vector<std::vector<Answers>> answers(variants.size());
      for (std::size_t i = 0; i < list.size() && !app::interrupted(); ++i)
        for (std::size_t v = 0; v < variants.size(); ++v) {
          const bool all = i < with_all && (variants[v] == Variant::normal || variants[v] == Variant::sbp);
          answers[v].push_back(run.ask(list[i], variants[v], all));
          progress.step(name_of(variants[v]));
        }
      progress.finish();
      for (std::size_t v = 0; v < variants.size(); ++v) {
        double given = 0, reversed = 0, worst = 0, best = 0, flips = 0, most = 0, mean = 0;
        std::vector<double> spreads;
        for (std::size_t i = 0; i < answers[v].size(); ++i) {
          const Answers& a = answers[v][i];
          const std::size_t label = list[i].label, r = a.right(label);
          const bool first = a.choice.front() == label, last = a.choice.back() == label;
          given += first, reversed += last, worst += first && last, best += first || last;
          mean += static_cast<double>(r) / static_cast<double>(a.choice.size());
          flips += a.flips(), spreads.push_back(a.spread), most = std::max(most, a.spread);
          for (const Ids& s : a.text) changed += s != a.text[0];
          if (variants[v] == Variant::normal && a.all) {
            all_n += 1, flips_all += a.flips(), worst_all += r == a.choice.size(), best_all += r > 0;
            mean_all += static_cast<double>(r) / static_cast<double>(a.choice.size());
          }
          if (variants[v] == Variant::sbp) {
            sbp_all += a.all && first, flips_sbp += a.flips(), most_sbp = std::max(most_sbp, a.spread), sbp_of_orders += first;
            questions += 1;
          }
          if (variants[v] == Variant::normal) mean_of_orders += (first + last) / 2.0;
          if (!invariant(variants[v])) wandering += a.spread >= 0.1, wandering_n += 1;
        }
        auto& keep = variants[v] == Variant::normal      ? spreads_normal
                     : variants[v] == Variant::only_mask ? spreads_mask
                     : variants[v] == Variant::sbp       ? spreads_sbp
                                                         : spreads_position;
        if (variants[v] != Variant::padded) keep.insert(keep.end(), spreads.begin(), spreads.end());
        const auto count = static_cast<double>(answers[v].size());
        const std::string name = name_of(variants[v]);
        metrics.add(name, "given", given / count), metrics.add(name, "reversed", reversed / count);
        metrics.add(name, "worst of 2", worst / count), metrics.add(name, "best of 2", best / count);
        metrics.add(name, "mean over orders", mean / count);
        metrics.add(name, "flip rate", flips / count), metrics.add(name, "largest spread", most);
        std::sort(spreads.begin(), spreads.end());
        metrics.add(name, "median spread", spreads.empty() ? NAN : spreads[spreads.size() / 2]);
      }
    }
    const auto has = [&](Variant v) { return std::find(variants.begin(), variants.end(), v) != variants.end(); };
    if (has(Variant::sbp) && questions > 0) {
      metrics.check("spread of SBP, largest of " + app::plain(questions) + " questions", most_sbp, "<=", 5e-4);
      metrics.check("continuations that an order changes, SBP", changed, "==", 0);
      metrics.check("flip rate of SBP", flips_sbp / questions, "==", 0);
    }
    if (wandering_n > 0)
      metrics.check("normal, only mask, only position: share of questions with a spread >= 0.1", wandering / wandering_n, ">=", 0.9);
    if (all_n > 0) metrics.check("flip rate of normal over all orders", flips_all / all_n, ">=", 0.1);
    if (has(Variant::sbp) && has(Variant::normal) && questions >= 60)
      metrics.check("accuracy of SBP less the mean of normal", (sbp_of_orders - mean_of_orders) / questions, ">=", -0.15);
    if (has(Variant::sbp) && all_n >= 15) {
      metrics.check("accuracy of SBP less normal's, right under every order", (sbp_all - worst_all) / all_n, ">=", -0.05);
      metrics.check("accuracy of SBP less normal's, right under any order", (sbp_all - best_all) / all_n, "<=", 0.05);
    }
    if (all_n > 0)
      std::cout << "all orders, " << app::plain(all_n) << " questions: normal right under every order " << app::figure(worst_all / all_n, 3)
                << ", mean " << app::figure(mean_all / all_n, 3) << ", under any " << app::figure(best_all / all_n, 3) << "; SBP "
                << app::figure(sbp_all / all_n, 3) << "\n";
    app::Bars accuracy{.title = "Accuracy", .y_label = "share", .note = "Of the given and the reversed order; chance is 1 / k"};
    std::vector<double> w, mid, b;
    for (const auto v : variants) {
      accuracy.groups.push_back(name_of(v));
      w.push_back(metrics.mean(name_of(v), "worst of 2").mean), b.push_back(metrics.mean(name_of(v), "best of 2").mean);
      mid.push_back((metrics.mean(name_of(v), "given").mean + metrics.mean(name_of(v), "reversed").mean) / 2);
    }
    accuracy.add("worst of 2", w).add("mean", mid).add("best of 2", b);
    app::Bars histogram{.title = "Spread of the logits over the orders", .y_label = "questions", .note = "Bins of log10"};
    for (int k = -6; k < 2; ++k) histogram.groups.push_back("1e" + std::to_string(k));
    const auto bins = [&](const std::vector<double>& s) {
      std::vector<double> count(8, 0.0);
      for (const double x : s) ++count[static_cast<std::size_t>(std::clamp(std::floor(std::log10(std::max(x, 1e-6))) + 6, 0.0, 7.0))];
      return count;
    };
    histogram.add("normal", bins(spreads_normal)).add("SBP", bins(spreads_sbp)).add("only mask", bins(spreads_mask));
    histogram.add("only position", bins(spreads_position));
    std::cout << metrics.table(3).text();
    report.table(metrics.table(3), "Accuracies, flips and spreads; mean ± standard deviation over the seeds")
        .plot(accuracy, "accuracy")
        .plot(histogram, "spread");
    if (has(Variant::sbp))
      report.key("largest spread, SBP", app::figure(most_sbp, 2), "float32, over all questions and orders")
          .key("flip rate, SBP", app::figure(flips_sbp / std::max(questions, 1.0), 3));
    if (all_n > 0) report.key("flip rate, normal", app::figure(flips_all / all_n, 3), "over all orders");
  }
  std::cout << metrics.checks_table().text() << "processor time "
            << app::figure(static_cast<double>(std::clock()) / CLOCKS_PER_SEC - begin, 3) << " s\n";
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const char* home = std::getenv("HOME");
  o.model = std::string(home ? home : "/root") + "/.cache/gradus/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
  const app::Args args = app::parse_args(
      argc, argv, {"set-based-prompting", "McIlroy-Young et al. 2024: no order among the options of a prompt"}, {.seeds = 1},
      [&](CLI::App& cli) {
        cli.add_option("--model", o.model, "a Llama in a GGUF file")->type_name("FILE")->capture_default_str();
        cli.add_option("--questions", o.data, "questions in the authors' form instead of WordNet's")->type_name("FILE.jsonl");
        cli.add_option("--wordnet", o.wordnet, "where data.noun is")->type_name("DIR")->capture_default_str();
        cli.add_option("--n", o.n, "questions; 0: the setting's")->check(CLI::NonNegativeNumber);
        cli.add_option("--k", o.k, "options a question, from WordNet")->check(CLI::Range(2, 6))->capture_default_str();
        cli.add_option("--orders", o.orders, "for every question the given and the reversed, or all k! (normal and SBP)")
            ->check(CLI::IsMember({"2", "all"}));
        cli.add_option("--variants", o.variants, "normal, SBP, 'SBP padded', 'only mask', 'only position'; all when not given")
            ->check(CLI::IsMember({"normal", "SBP", "SBP padded", "only mask", "only position"}));
        cli.add_option("--score", o.score, "log-likelihood over length, or the authors' max_token_prob")
            ->check(CLI::IsMember({"ll", "maxlogit"}))
            ->capture_default_str();
        cli.add_flag("--padded", o.padded, "normal and SBP padded alone");
        cli.add_option("--gen", o.gen, "tokens of the greedy continuation")->check(CLI::Range(0, 1000))->capture_default_str();
        cli.add_option("--gen-pos", o.gen_pos, "positions go on from the prompt's, or from the number of tokens")
            ->check(CLI::IsMember({"edited", "total"}))
            ->capture_default_str();
        cli.add_flag("--canonical", o.canonical, "store the pieces of a set sorted: equal bit by bit");
        cli.add_flag("--random-model", o.random_model, "the exact checks alone");
        cli.add_flag("--plan", o.plan, "print how much would run, run nothing");
      });
  return app::run([&] {
    if (o.padded) o.variants = {"normal", "SBP padded"};
    if (o.plan) {
      const auto n = o.n > 0 ? o.n : args.pick<int64_t>(0, 12, 60, 9741), all = args.pick<int64_t>(0, 1, 15, 0);
      const auto k = static_cast<int64_t>(chosen(o).size()), runs = args.seeds * (2 * k * n + 2 * 22 * all);
      std::cout << n << " questions, " << k << " variants, " << args.seeds << " seeds: " << runs
                << " prompts of about 50 tokens, each 0.27 GFLOP on SmolLM2-135M: " << app::figure(static_cast<double>(runs) * 13.5e-3, 3)
                << " TFLOP, and " << o.gen << " tokens after each of SBP's\n";
      return 0;
    }
    return app::on_device(args, [&]<class D>(D) { return reproduce<D>(args, o); });
  });
}
