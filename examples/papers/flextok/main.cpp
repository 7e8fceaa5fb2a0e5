// R. Bachmann et al., "FlexTok: Resampling Images into 1D Token Sequences of Flexible Length", ICML 2025, arXiv:2502.13967.
//
// Claim: images become ordered sequences of tokens of which any prefix decodes to a plausible image; more tokens, more detail;
// an autoregressive model over the tokens generates from coarse to fine.
//
// Differs from the paper: Fashion-MNIST padded to 32 x 32, a small VAE without GAN and LPIPS, 16 registers, 1000 codes; the
// metric is the Frechet distance of a small classifier's features (F-FID); REPA's teacher is a small CNN.
#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 takes the unused places of an inlined Shape and of a node's edges for used ones.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Warray-bounds"
#endif
#include <iostream>

#include <gradus/app/args.hpp>
#include <gradus/app/metrics.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/app/report.hpp>

#include "stages.hpp"

using namespace flextok;

struct Options {
  Config c;
  bool demo = false, fresh = false, apg = false, plan = false;
  double guidance = 2, guidance_ar = 1.5;
  int64_t steps_ode = 20;
  std::string mask = "causal", dataset = "fashion-mnist";
};

io::Image image_of(const Tensor<float>& x, int64_t i) {
  const auto v = narrow(x, 0, i, 1).contiguous().to_vector();
  return io::image_from_chw(v, static_cast<int>(x.size(1)), static_cast<int>(x.size(2)), static_cast<int>(x.size(3)), -1, 1);
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  using Net = Tokenizer<float, D>;
  const bool demo = o.demo, smoke = args.setting == app::Setting::smoke, quick = args.setting == app::Setting::quick && !demo;
  const Config c = o.c;
  const int64_t vae_steps = smoke ? 4 : quick ? 150 : 500, steps = smoke ? 4 : quick ? 300 : demo ? 2500 : 1000;
  const int64_t ar_steps = smoke ? 4 : quick ? 300 : 1500, tested = smoke ? 40 : 400, epochs = smoke ? 0 : 2;
  const auto set = data::load_mnist_like(args.data, o.dataset);
  const int64_t N = smoke ? 400 : quick ? 8000 : set.train.size();
  app::Metrics metrics("flextok", demo ? "demo" : name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  std::vector<int64_t> ks;
  for (int64_t k = 1; k < c.K; k *= 2) ks.push_back(k);
  ks.push_back(c.K);

  app::ImageGrid shown{.title = "Reconstructions: the first k tokens of each picture, and the picture",
                       .note = "One noise for all k. One token already gives the kind of garment, more tokens add its detail.",
                       .columns = ks.size() + 1,
                       .cell = 96};
  app::ImageGrid drawn{.title = "Samples: a class, tokens drawn one by one, the first k decoded",
                       .note = "The autoregressive model knows the class only.",
                       .columns = ks.size(),
                       .cell = 96};
  app::ImageGrid seeds{.title = "What the tokens leave open: six noises", .columns = 6, .cell = 96};
  app::ImageGrid several{.title = "More samples of each class, all tokens", .columns = 8, .cell = 96};
  app::Plot by_k{.title = "Flow loss on test pictures", .x_label = "tokens", .y_label = "loss", .log_x = true};
  app::Plot fid_k{.title = "F-FID of reconstructions", .x_label = "tokens", .y_label = "F-FID", .log_x = true};
  std::vector<std::vector<double>> flow_curves, fid_curves;
  const auto with = [&](int64_t k) {
    return typename Net::Sampling{.keep = k, .steps = o.steps_ode, .guidance = o.guidance, .apg = o.apg};
  };
  const auto name_k = [](int64_t k) { return std::to_string(k) + (k == 1 ? " token" : " tokens"); };

  for (int s = 0; s < args.seeds; ++s) {
    const uint64_t seed = args.seed + static_cast<uint64_t>(s);
    const std::string of_seed = " seed " + std::to_string(seed);
    std::string key = std::to_string(seed) + "-" + o.dataset + "-" + std::to_string(N) + "-" + std::to_string(c.D) + "-" +
                      std::to_string(c.K);
    for (const int64_t level : c.levels) key += "-" + std::to_string(level);
    const auto place = [&](int64_t n, const std::string& more = "") {
      return Place{fs::path(args.out) / "stages", key + "-" + std::to_string(n) + more, o.fresh};
    };
    // The judge of the evaluation.
    manual_seed(seed + 1000);
    Classifier<float, D> judge(c.channels);
    train_stage(place(epochs * (N / 128)), "classifier", judge, {.steps = epochs * (N / 128), .batch = 128, .lr = 2e-3},
                [&](int64_t step) {
                  const auto [x, y] = pictures<D>(set.train, draw_pictures(seed + 1000, step, 128, N));
                  return cross_entropy(judge.logits(x), y);
                });
    // Stage 0.
    manual_seed(seed);
    Vae<float, D> vae(c);
    train_stage(place(vae_steps), "vae", vae, {.steps = vae_steps, .lr = 2e-3},
                [&](int64_t step) { return vae.loss(pictures<D>(set.train, draw_pictures(seed, step, 64, N)).first); });
    const auto [probe, probe_y] = pictures<D>(set.train, range(0, std::min<int64_t>(N, 10000)));
    no_grad([&] {
      vae.scale.copy_(ones<float, D>({}));
      const auto z = vae.encode(probe);
      vae.scale.copy_(1 / sqrt(mean(square(z - mean(z)))));
    });
    const auto [x, y] = pictures<D>(set.test, range(0, tested));
    const auto z0 = no_grad([&] { return vae.encode(x); });
    const auto host_x = to_device<Cpu>(x);
    const auto real = features(judge, x);

    // Stage 1; REPA's teacher is another classifier than the judge.
    manual_seed(seed + 500);
    Classifier<float, D> teacher(c.channels);
    if (c.repa > 0)
      train_stage(place(epochs * (N / 128)), "teacher", teacher, {.steps = epochs * (N / 128), .batch = 128, .lr = 2e-3},
                  [&](int64_t step) {
                    const auto [x, y] = pictures<D>(set.train, draw_pictures(seed + 500, step, 128, N));
                    return cross_entropy(teacher.logits(x), y);
                  });
    const auto of_tokenizer = [](const Config& config) {
      return "-" + config.nested + (config.causal ? "" : "-full") + (config.deterministic ? "-det" : "") +
             (config.repa > 0 ? "-repa" + app::plain(config.repa) : "");
    };
    const auto train_tokenizer = [&](const std::string& name, const Config& config) {
      manual_seed(seed);
      Net net(config);
      train_stage(place(steps, of_tokenizer(config)), name, net,
                  {.steps = steps, .lr = 2e-3, .ema = quick || smoke ? 0 : 0.998}, [&](int64_t step) {
                    const auto x = pictures<D>(set.train, draw_pictures(seed + 1, step, 64, N)).first;
                    const auto z = no_grad([&] { return vae.encode(x); });
                    if (config.repa == 0) return net.loss(z);
                    return net.loss(z, no_grad([&] { return patchify(teacher.map(x), 1, 1); }));
                  });
      return net;
    };
    const auto evaluate = [&](const std::string& name, const Net& net) {
      std::vector<Quality> list;
      const auto q = no_grad([&] { return net.encode(z0); });
      for (const int64_t k : ks) {
        const auto r = to_device<Cpu>(decode(vae, net, q, with(k), 77));
        const auto there = to_device<D>(r);
        list.push_back({flow_loss(net, z0, k, 78), static_cast<double>(mse_loss(r, host_x).item()),
                        frechet(features(judge, there), real), agreement(judge, there, y), sharpness(r)});
        const std::string row = name + ", " + name_k(k);
        metrics.add(row, "flow loss", list.back().flow), metrics.add(row, "MSE", list.back().mse);
        metrics.add(row, "F-FID", list.back().fid), metrics.add(row, "class agreement", list.back().agreement);
        metrics.add(row, "sharpness", list.back().sharpness);
      }
      return list;
    };
    Net net = train_tokenizer("tokenizer", c);
    const auto nested = evaluate("nested", net);
    const double null = flow_loss(net, z0, -1, 78);
    metrics.add("null condition", "flow loss", null);
    const auto vae_x = no_grad([&] { return vae.decode(z0); });
    metrics.add("VAE alone", "MSE", static_cast<double>(mse_loss(to_device<Cpu>(vae_x), host_x).item()));
    metrics.add("VAE alone", "F-FID", frechet(features(judge, vae_x), real));
    metrics.add("VAE alone", "class agreement", agreement(judge, vae_x, y));
    metrics.add("originals", "class agreement", agreement(judge, x, y));
    std::vector<double> flow, fid;
    for (const auto& m : nested) flow.push_back(m.flow), fid.push_back(m.fid);
    flow_curves.push_back(flow), fid_curves.push_back(fid);
    const bool controls = args.setting == app::Setting::normal && !demo;
    if (controls) {
      Config config = c;
      config.nested = "none";
      const Net plain = train_tokenizer("without nested dropout", config);
      const auto other = evaluate("not nested", plain);
      const std::size_t last = ks.size() - 1;
      for (std::size_t i : {std::size_t{0}, std::size_t{2}}) {
        const std::string k = ", k = " + std::to_string(ks[i]) + "," + of_seed;
        metrics.check("6: flow loss, nested over not nested" + k, nested[i].flow / other[i].flow, "<", 1);
        metrics.check("6: F-FID, nested over not nested" + k, nested[i].fid / other[i].fid, "<", 1);
      }
      metrics.check("6: flow loss at all tokens, nested over not nested," + of_seed, nested[last].flow / other[last].flow,
                    "<=", 1.2);
      if (s == 0) {
        config = c, config.deterministic = true;
        const auto flat = evaluate("deterministic", train_tokenizer("deterministic decoder", config));
        metrics.check("7: sharpness at k = 1 over the deterministic decoder's", nested[0].sharpness / flat[0].sharpness,
                      ">=", 1.1);
        metrics.check("7: MSE at k = 1 over the deterministic decoder's", nested[0].mse / flat[0].mse, ">", 1);
        metrics.check("7: F-FID at all tokens over the deterministic decoder's", nested[last].fid / flat[last].fid, "<", 1);
      }
    }

    // Stage 2: tokens of all training pictures, undropped.
    std::vector<Tensor<int64_t, D>> all;
    for (int64_t b = 0; b < N; b += 500) {
      const NoGrad guard;
      const auto part = pictures<D>(set.train, range(b, std::min(N, b + 500))).first;
      all.push_back(net.fsq.index(net.encode(vae.encode(part))));
    }
    const auto ids = cat(all, 0);
    manual_seed(seed + 2);
    Autoregressive<float, D> ar(c);
    train_stage(place(ar_steps, "-" + std::to_string(steps) + of_tokenizer(c)), "autoregressive", ar,
                {.steps = ar_steps, .batch = 128, .lr = 1e-3}, [&](int64_t step) {
                  const auto index = draw_pictures(seed + 2, step, 128, N);
                  std::vector<int64_t> classes;
                  for (const int64_t i : index) classes.push_back(set.train.labels[static_cast<std::size_t>(i)]);
                  return ar.loss(index_select(ids, 0, to_device<D>(from_vector<int64_t>(index))),
                                 to_device<D>(from_vector<int64_t>(classes)));
                });
    // Perplexity a position against the unigram's.
    {
      const NoGrad guard;
      const auto test_ids = net.fsq.index(net.encode(z0));
      const auto lp = log_softmax(ar.logits(test_ids, y, ones<float, D>({tested})), -1);
      const auto chosen = to_device<Cpu>(gather(lp, 2, unsqueeze(test_ids, 2)));
      const auto train_ids = to_device<Cpu>(ids), held = to_device<Cpu>(test_ids);
      double worst = 0;
      for (int64_t i = 0; i < c.K; ++i) {
        std::vector<double> count(static_cast<std::size_t>(c.vocabulary()), 1);  // one each: no code has probability 0
        for (int64_t n = 0; n < N; ++n) ++count[static_cast<std::size_t>(train_ids.data()[n * c.K + i])];
        double model = 0, unigram = 0;
        for (int64_t n = 0; n < tested; ++n) {
          const auto id = static_cast<std::size_t>(held.data()[n * c.K + i]);
          model -= static_cast<double>(chosen.data()[n * c.K + i]);
          unigram -= std::log(count[id] / static_cast<double>(N + c.vocabulary()));
        }
        const double m = std::exp(model / static_cast<double>(tested)), u = std::exp(unigram / static_cast<double>(tested));
        worst = std::max(worst, m / u);
        metrics.add("token " + std::to_string(i + 1), "perplexity", m);
        metrics.add("token " + std::to_string(i + 1), "unigram's", u);
      }
      if (!smoke && !quick) metrics.check("8: perplexity over the unigram's, worst position," + of_seed, worst, "<", 1);
    }
    std::vector<int64_t> wanted;
    for (int64_t i = 0; i < tested; ++i) wanted.push_back(i % c.classes);
    const auto classes = to_device<D>(from_vector<int64_t>(wanted));
    manual_seed(seed + 3);
    const auto sampled = net.fsq.code(ar.sample(classes, o.guidance_ar));
    std::vector<double> agree, gfid;
    std::vector<Tensor<float>> of_k;
    for (const int64_t k : ks) {
      const auto g = decode(vae, net, sampled, with(k), 79);
      agree.push_back(agreement(judge, g, classes)), gfid.push_back(frechet(features(judge, g), real));
      metrics.add("generated, " + name_k(k), "F-FID", gfid.back());
      metrics.add("generated, " + name_k(k), "class agreement", agree.back());
      of_k.push_back(to_device<Cpu>(g));
    }
    if (!smoke && !quick) {
      metrics.check("8: class agreement of samples, all tokens," + of_seed, agree.back(), ">=", 0.5);
      metrics.check("8: F-FID of samples, all tokens over one," + of_seed, gfid.back() / gfid.front(), "<", 1);
    }
    // Pictures of the first seed.
    if (s > 0) continue;
    const auto& names = o.dataset == "fashion-mnist" ? data::kFashionMnistClasses : data::kDigitClasses;
    std::vector<int64_t> one_of_each;
    for (int64_t label = 0; label < 10; ++label)
      for (int64_t i = 0; i < set.test.size(); ++i)
        if (set.test.labels[static_cast<std::size_t>(i)] == label) {
          one_of_each.push_back(i);
          break;
        }
    const auto ten = pictures<D>(set.test, one_of_each).first;
    const auto q = no_grad([&] { return net.encode(vae.encode(ten)); });
    std::vector<Tensor<float>> columns;
    for (const int64_t k : ks) {
      columns.push_back(to_device<Cpu>(decode(vae, net, q, with(k), 80)));
      shown.column_names.push_back(name_k(k)), drawn.column_names.push_back(name_k(k));
    }
    columns.push_back(to_device<Cpu>(ten));
    shown.column_names.push_back("original");
    for (int64_t i = 0; i < 10; ++i) {
      shown.row_names.push_back(names[static_cast<std::size_t>(i)]),
          drawn.row_names.push_back(names[static_cast<std::size_t>(i)]);
      several.row_names.push_back(names[static_cast<std::size_t>(i)]);
      for (const auto& column : columns) shown.add(image_of(column, i));
      for (const auto& column : of_k) drawn.add(image_of(column, i));
      for (int64_t j = 0; j < 8 && 10 * j + i < tested; ++j)
        several.add(image_of(of_k.back(), std::min(tested - 1, 10 * j + i)));
    }
    several.columns = static_cast<std::size_t>(std::min<int64_t>(8, tested / 10));
    for (const int64_t i : {int64_t{9}, int64_t{3}})
      for (const int64_t k : {int64_t{1}, std::min<int64_t>(4, c.K), c.K}) {
        seeds.row_names.push_back(std::string(names[static_cast<std::size_t>(i)]) + ", " + name_k(k));
        const auto same = repeat(narrow(q, 0, i, 1), {6, 1, 1});
        const auto six = to_device<Cpu>(decode(vae, net, same, with(k), 81));
        for (int64_t j = 0; j < 6; ++j) seeds.add(image_of(six, j));
      }
  }
  // Ordering, means over the seeds.
  const auto mean_of = [&](int64_t k, const char* what) { return metrics.mean("nested, " + name_k(k), what).mean; };
  if (!smoke) {
    double rise = 0;
    for (std::size_t i = 1; i < ks.size(); ++i)
      rise = std::max(rise, mean_of(ks[i], "flow loss") / mean_of(ks[i - 1], "flow loss"));
    metrics.check("5: flow loss, all tokens over one", mean_of(c.K, "flow loss") / mean_of(1, "flow loss"), "<=", 0.97);
    metrics.check("5: flow loss, largest rise from one k to the next", rise, "<=", 1.01);
    metrics.check("5: MSE, all tokens over one", mean_of(c.K, "MSE") / mean_of(1, "MSE"), "<=", 0.9);
    metrics.check("5: flow loss, one token over none",
                  mean_of(1, "flow loss") / metrics.mean("null condition", "flow loss").mean, "<=", 0.95);
  }
  std::vector<double> tokens;
  for (const int64_t k : ks) tokens.push_back(static_cast<double>(k));
  by_k.seeds("nested", tokens, flow_curves), fid_k.seeds("nested", tokens, fid_curves);
  std::cout << metrics.table().text() << metrics.checks_table().text();
  app::Report report("FlexTok");
  report
      .citation("R. Bachmann et al., FlexTok: Resampling Images into 1D Token Sequences of Flexible Length, ICML 2025",
                "https://arxiv.org/abs/2502.13967")
      .claim(
          "Images become ordered tokens of which any prefix decodes to a plausible image: one token gives the kind, more add "
          "detail.")
      .key("right kind from 1 token", app::figure(100 * mean_of(1, "class agreement"), 3) + " %",
           "a classifier's agreement; originals " + app::figure(100 * metrics.mean("originals", "class agreement").mean, 3) +
               " %")
      .key("from " + name_k(c.K), app::figure(100 * mean_of(c.K, "class agreement"), 3) + " %",
           "MSE " + app::figure(mean_of(c.K, "MSE"), 3) + "; one token " + app::figure(mean_of(1, "MSE"), 3))
      .images(shown, "reconstructions")
      .images(drawn, "samples")
      .images(several, "more-samples")
      .images(seeds, "noises")
      .table(metrics.table(), "Figures on " + std::to_string(tested) + " test pictures")
      .plot(by_k, "flow-loss")
      .plot(fid_k, "f-fid")
      .run(metrics, args.command)
      .write(args.out);
  std::cout << "pictures: " << args.out << "/reconstructions.png (columns: 1, 2, 4, 8, ... tokens, then the original)\n"
            << "          " << args.out << "/samples.png, more-samples.png, noises.png\n"
            << "wrote " << args.out << "/report.html and " << metrics.write(args.out).string() << "\n";
  return metrics.exit_code(args.check);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"flextok", "Bachmann et al. 2025: images as ordered token sequences of any length"}, {.seeds = 3},
      [&](CLI::App& cli) {
        cli.add_flag("--demo", o.demo, "one tokenizer, one seed, for the pictures: minutes");
        cli.add_flag("--fresh", o.fresh, "train again although the stages are in OUT/stages");
        cli.add_flag("--plan", o.plan,
                     "print parameters, memory and FLOPs of a training step at the paper's sizes, run nothing");
        cli.add_option("--repa", o.c.repa, "weight of the alignment with a small classifier's features; 0: none")
            ->check(CLI::Range(0.0, 100.0))
            ->capture_default_str();
        cli.add_option("--levels", o.c.levels, "levels of FSQ")->capture_default_str();
        cli.add_option("--registers", o.c.K, "tokens a picture")->check(CLI::Range(1, 1024))->capture_default_str();
        cli.add_option("--nested", o.c.nested, "law of the number of tokens kept")
            ->check(CLI::IsMember({"uniform", "pow2", "uniform_pow2", "none"}))
            ->capture_default_str();
        cli.add_option("--mask", o.mask, "of the encoder")->check(CLI::IsMember({"causal", "full"}))->capture_default_str();
        cli.add_option("--guidance", o.guidance, "scale at decoding")->check(CLI::Range(0.0, 100.0))->capture_default_str();
        cli.add_option("--guidance-ar", o.guidance_ar, "scale of the autoregressive model")
            ->check(CLI::Range(0.0, 100.0))
            ->capture_default_str();
        cli.add_flag("--apg", o.apg, "adaptive projected guidance in place of classifier-free");
        cli.add_option("--steps-ode", o.steps_ode, "Euler steps")->check(CLI::Range(1, 1000))->capture_default_str();
        cli.add_option("--dataset", o.dataset, "fashion-mnist, or mnist where its files are")
            ->check(CLI::IsMember({"fashion-mnist", "mnist"}))
            ->capture_default_str();
      });
  return app::run([&] {
    app::Args a = args;
    o.c.causal = o.mask == "causal";
    if ((a.setting == app::Setting::smoke || a.setting == app::Setting::quick || o.demo) && !a.seeds_given) a.seeds = 1;
    if (a.setting == app::Setting::quick || a.setting == app::Setting::smoke)
      o.c.D = 32, o.c.encoder_depth = 1, o.c.decoder_depth = 2, o.c.K = std::min<int64_t>(o.c.K, 8);
    if (o.plan) {
      app::Table t;
      t.columns = {"size",
                   "encoder",
                   "decoder",
                   "tokenizer",
                   "GFLOP a picture",
                   "weights and optimiser, GB",
                   "activations a picture, GB"};
      for (const auto& [e, d] : {std::pair{12, 12}, std::pair{18, 18}, std::pair{18, 28}}) {
        const Plan p = flextok::plan(Config::paper(e, d));
        const auto millions = [](int64_t n) { return app::figure(static_cast<double>(n) / 1e6, 4) + " M"; };
        t.row({"d" + std::to_string(e) + "-d" + std::to_string(d), millions(p.encoder_blocks), millions(p.decoder_blocks),
               millions(p.parameters), app::figure(p.flops / 1e9, 4), app::figure(p.state_gb, 3),
               app::figure(p.activations_gb, 3)});
      }
      std::cout << t.text() << "256 x 256, 256 registers; encoder and decoder: their blocks alone\n";
      return 0;
    }
    if (a.setting == app::Setting::paper)
      fail("--paper", "the loop over an ImageNet folder is not part of this example yet", {{"sizes", "Config::paper"}},
           "--smoke, --quick, --demo or the default", Where::current());
    try {
      return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
    } catch (const Interrupted&) {
      std::cout << "saved in " << a.out << "/stages; the same command goes on\n";
      return 130;
    }
  });
}
