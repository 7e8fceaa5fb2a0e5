// D. Scheliga, P. Maeder, M. Seeland, "Dropout is NOT All You Need to Prevent Gradient Leakage", AAAI 2023, arXiv:2208.06163.
//
// Claim: dropout hides an image from gradient inversion only because the attacker differentiates another network than the
// client's; optimising the image and the unknown dropout masks together restores the attack.
//
// Differs from the paper: Fashion-MNIST, smaller networks and fewer iterations unless --paper; see README.md.
#include <iostream>
#include <map>

#include <gradus/app/args.hpp>
#include <gradus/app/progress.hpp>
#include <gradus/app/finish.hpp>

#include "exact.hpp"
#include "plan.hpp"

using namespace gradus;
using namespace dia;

using Curves = std::vector<std::vector<double>>;
const std::vector<Attack> kAttacks{Attack::ig, Attack::wiig, Attack::dia, Attack::frozen};

std::string label(const std::string& phase, double p, Attack a) { return phase + ", p = " + app::plain(p) + ", " + name_of(a); }

template <class D>
io::Image picture(const Victim<float, D>& v, const Tensor<float, D>& x, int64_t b) {
  const auto pixels = no_grad([&] { return narrow(v.pixels(x), 0, b, 1).contiguous().template to<Cpu>(); });
  return io::image_from_chw(pixels.span(), static_cast<int>(x.size(1)), static_cast<int>(x.size(2)),
                            static_cast<int>(x.size(3)));
}
/// A mask as a bitmap about twice as wide as high; what is left of the last row stays grey.
template <class D>
io::Image bitmap(const AnyTensor& mask) {
  auto values = mask.as<float, D>().template to<Cpu>().to_vector();
  values.resize(std::min<std::size_t>(values.size(), 4096));
  const int w = static_cast<int>(std::ceil(std::sqrt(2.0 * static_cast<double>(values.size()))));
  const int h = (static_cast<int>(values.size()) + w - 1) / w;
  values.resize(static_cast<std::size_t>(w * h), 0.5f);
  return io::image_from_chw(values, 1, h, w);
}

/// What is drawn of one phase: the first seed's images and masks, every seed's losses and PSNRs.
struct Drawings {
  app::ImageGrid images{.cell = 84}, snapshots{.cell = 84}, masks{.cell = 96};
  std::vector<double> at;                                   // iterations at which PSNR is taken
  std::map<double, std::map<Attack, Curves>> losses, psnr;  // by p
};

template <class D>
void run_phase(const Phase& f, const Source& source, uint64_t seed, bool first, app::Metrics& metrics, Drawings& draw,
               app::Progress& progress) {
  const auto v = draw_victim<float, D>(source, f.batch, seed);
  const int64_t every = std::max<int64_t>(1, f.attacker.iterations / 60), shown = std::min<int64_t>(f.batch, 4);
  if (draw.at.empty())
    for (int64_t i = 0; i < f.attacker.iterations; i += every) draw.at.push_back(static_cast<double>(i));
  const double strip = *std::max_element(f.p.begin(), f.p.end());
  for (const double p : f.p) {
    NetConfig config = f.net;
    config.p = p;
    manual_seed(seed);
    auto net = make_net<float, D>(config);
    const auto shared = share_gradient(net, v);
    std::map<Attack, Tensor<float, D>> found;
    for (const Attack a : f.attacks_at(p)) {
      if (app::interrupted()) return;
      manual_seed(seed + (uint64_t{1} << 32));  // the attacker's own: one start for all
      std::vector<double> psnr;
      int64_t next = 1;
      const auto follow = [&](int64_t i, const Tensor<float, D>& x, double) {
        if (i % every == 0) psnr.push_back(quality(v, x).psnr);
        if (first && a == Attack::dia && p == strip && (i == 0 || i == next)) {
          draw.snapshots.add(picture(v, x, 0), std::to_string(i));
          next = i == 0 ? 1 : std::max(next + 1, next * 2);
        }
        progress.step(label(f.name, p, a) + ", seed " + std::to_string(seed));
        return !app::interrupted();
      };
      const auto r = attack<float, D>(a, net, v, shared, p, f.attacker, follow);
      if (app::interrupted()) return;
      progress.step(f.attacker.iterations - r.iterations);
      const Quality q = quality(v, r.x);
      const std::string method = label(f.name, p, a);
      metrics.add(method, "MSE", q.mse), metrics.add(method, "PSNR dB", q.psnr), metrics.add(method, "SSIM", q.ssim);
      metrics.add(method, "loss", r.loss), metrics.add(method, "iterations", static_cast<double>(r.iterations));
      if (a == Attack::dia) {
        const auto before = mask_accuracy<float, D>(r.start, shared.psi), after = mask_accuracy<float, D>(r.psi, shared.psi);
        metrics.add(method, "masks at the start", app::mean_std(before).mean);
        metrics.add(method, "masks right", app::mean_std(after).mean);
        metrics.add(method, "worst layer", *std::min_element(after.begin(), after.end()));
        if (first)
          for (std::size_t l = 0; l < std::min<std::size_t>(2, after.size()); ++l)
            draw.masks.add(bitmap<D>(shared.psi[l]), "p = " + app::plain(p) + ", layer " + std::to_string(l + 1) + ": client's")
                .add(bitmap<D>(r.start[l]), "start: " + app::figure(before[l], 3))
                .add(bitmap<D>(r.psi[l]), "found: " + app::figure(after[l], 3));
      }
      draw.losses[p][a].push_back(r.losses), draw.psnr[p][a].push_back(psnr);
      found[a] = r.x;
    }
    if (!first) continue;
    for (int64_t b = 0; b < shown; ++b) {
      draw.images.add(picture(v, v.x, b), "p = " + app::plain(p) + "\noriginal");
      draw.images.columns = 1;
      for (const Attack a : f.attacks.size() > 1 ? std::vector{Attack::ig, Attack::wiig, Attack::dia} : f.attacks) {
        const Attack from = found.contains(a) ? a : Attack::ig;
        ++draw.images.columns;
        draw.images.add(picture(v, found[from], b), std::string(name_of(a)) + (from == a ? "" : " = IG") + "\n" +
                                                        app::figure(quality(v, found[from]).psnr, 3) + " dB");
      }
    }
  }
}

void draw_phase(const Phase& f, Drawings& d, const app::Metrics& metrics, app::Report& report) {
  const std::string file = f.name.substr(0, f.name.find(',')) + (f.batch > 1 ? "-batch" : "");
  report.heading(f.name + ", " + f.net.image.str());
  d.images.title = "Originals and what is found, first seed", report.images(d.images, "images-" + file);
  d.snapshots.title = "DIA, p = " + app::plain(*std::max_element(f.p.begin(), f.p.end())) + ", by iteration";
  if (!d.snapshots.items.empty()) report.images(d.snapshots, "snapshots-" + file);
  d.masks.title = "Masks of the first layers", d.masks.columns = 6,
  d.masks.note = "White: kept. The figure: share on the right side of 1/2.";
  if (!d.masks.items.empty()) report.images(d.masks, "masks-" + file);
  for (const double p : f.p) {
    if (p == 0) continue;
    const std::string at = ", p = " + app::plain(p);
    app::Plot loss{.title = "Loss" + at, .x_label = "iteration", .y_label = "L", .log_y = true},
        psnr{.title = "Towards the image" + at, .x_label = "iteration", .y_label = "PSNR, dB"};
    for (const Attack a : f.attacks_at(p)) {
      std::size_t longest = 0;
      for (const auto& c : d.losses[p][a]) longest = std::max(longest, c.size());
      std::vector<double> steps(longest);
      for (std::size_t i = 0; i < longest; ++i) steps[i] = static_cast<double>(i);
      loss.seeds(name_of(a), steps, d.losses[p][a]), psnr.seeds(name_of(a), d.at, d.psnr[p][a]);
    }
    report.plot(loss, "loss-" + file + "-" + app::plain(p)).plot(psnr, "psnr-" + file + "-" + app::plain(p));
  }
  if (f.p.size() < 3) return;
  app::Plot by_p{.title = "PSNR by dropout rate", .x_label = "p", .y_label = "PSNR, dB"};
  for (const Attack a : {Attack::ig, Attack::wiig, Attack::dia}) {
    std::vector<double> at;
    Curves values;
    for (const double p : f.p) {
      const auto y = metrics.values(label(f.name, p, p > 0 ? a : Attack::ig), "PSNR dB");
      if (y.empty()) continue;
      at.push_back(p), values.resize(std::max(values.size(), y.size()));
      for (std::size_t s = 0; s < y.size(); ++s) values[s].push_back(y[s]);
    }
    by_p.seeds(name_of(a), at, values);
  }
  report.plot(by_p, "psnr-by-p-" + file);
}

/// Acceptance 4 and 5, on small networks, and on the client's of the first phase.
template <class D>
void check_exact(const Phase& f, const Source& source, uint64_t seed, app::Metrics& metrics) {
  Small<double, D> small(small_mlp(0.4), 2, seed);
  metrics.check("gradient of L in x' and psi', float64: relative distance from differences",
                difference_error(small.net, small.v, small.s, 0.4), "<=", 1e-6);
  if (f.net.arch != Arch::mlp) return;
  const auto v = draw_victim<float, D>(source, 1, seed);
  NetConfig config = f.net;
  config.p = 0.25;
  manual_seed(seed);
  auto net = make_net<float, D>(config);
  const auto s = share_gradient(net, v);
  const AtTruth t = at_truth(net, v, s, config.p);
  metrics.check("L_rec at the image and its masks", std::abs(t.loss), "<=", 1e-6);
  metrics.check("norm of its gradient in x'", t.dx, "<=", 1e-4);
  metrics.check("norm of its gradient in the masks", t.dpsi, "<=", 1e-4);
  metrics.check("units whose gradients are not 0 exactly when dropped", static_cast<double>(wrong_zeros(s)), "==", 0);
}

void check_attacks(const Phase& f, app::Metrics& metrics) {
  const auto mean = [&](double p, Attack a, const char* metric) { return metrics.mean(label(f.name, p, a), metric).mean; };
  const auto has = [&](double p) { return std::find(f.p.begin(), f.p.end(), p) != f.p.end(); };
  if (has(0.5)) {
    const double dia = mean(0.5, Attack::dia, "PSNR dB");
    metrics.check("p = 0.5: PSNR of DIA over IG, dB", dia - mean(0.5, Attack::ig, "PSNR dB"), ">=", 12);
    metrics.check("p = 0.5: PSNR of WIIG over DIA, dB", mean(0.5, Attack::wiig, "PSNR dB") - dia, "<=", 5);
  }
  if (has(0.25)) {
    const double dia = mean(0.25, Attack::dia, "MSE");
    metrics.check("p = 0.25: MSE of DIA", dia, "<=", 0.02);
    metrics.check("p = 0.25: MSE of DIA over IG's", dia / mean(0.25, Attack::ig, "MSE"), "<=", 0.1);
  }
  for (const double p : {0.25, 0.5})
    if (has(p)) {
      const auto right = metrics.values(label(f.name, p, Attack::dia), "worst layer");
      metrics.check("p = " + app::plain(p) + ": masks right, worst layer and seed",
                    right.empty() ? NAN : *std::min_element(right.begin(), right.end()), ">=", 0.98);
      metrics.check("p = " + app::plain(p) + ": masks right at the start", mean(p, Attack::dia, "masks at the start"),
                    "<=", 0.75);
    }
}

template <class D>
int reproduce(const app::Args& args, const Options& o) {
  const Source source = open_source(o.dataset, args.data);
  const auto list = phases(args, o, source);
  app::Metrics metrics("dropout-inversion-attack", name_of(args.setting), args.seed_list());
  app::catch_interrupt();
  app::Report report("Dropout is NOT All You Need to Prevent Gradient Leakage");
  report
      .citation("D. Scheliga, P. Maeder, M. Seeland, Dropout is NOT All You Need to Prevent Gradient Leakage, AAAI 2023",
                "https://arxiv.org/abs/2208.06163")
      .claim(
          "Dropout hides an image from gradient inversion only while the attacker differentiates another network than the "
          "client's; "
          "optimising the image and the masks together restores the attack.");
  int64_t total = 0;
  for (const Phase& f : list) total += f.iterations() * args.seeds;
  app::Progress progress(total, "attacks");
  std::vector<Drawings> drawings(list.size());
  for (std::size_t k = 0; k < list.size(); ++k)
    for (const uint64_t seed : args.seed_list())
      run_phase<D>(list[k], source, seed, seed == args.seed, metrics, drawings[k], progress);
  progress.finish();
  if (!app::interrupted()) {
    check_exact<D>(list[0], source, args.seed, metrics);
    if (!o.own() && list[0].name == "mlp" && args.setting != app::Setting::smoke) check_attacks(list[0], metrics);
  }
  std::cout << metrics.table().text() << metrics.checks_table().text();
  const Phase& f = list[0];
  const double p = f.p.back();
  for (const Attack a : f.attacks_at(p))
    report.key("PSNR, " + label(f.name, p, a), app::figure(metrics.mean(label(f.name, p, a), "PSNR dB"), 3) + " dB",
               "SSIM " + app::figure(metrics.mean(label(f.name, p, a), "SSIM"), 3));
  report.table(metrics.table(),
               "Mean ± standard deviation over the seeds: each an image, weights, masks and a start of its own");
  for (std::size_t k = 0; k < list.size(); ++k) draw_phase(list[k], drawings[k], metrics, report);
  return app::finish(report, metrics, args);
}

int main(int argc, char** argv) {
  Options o;
  const app::Args args = app::parse_args(
      argc, argv, {"dropout-inversion-attack", "Scheliga et al. 2022: dropout masks found together with the image"},
      {.seeds = 3}, [&](CLI::App& cli) {
        cli.add_option("--arch", o.arch, "the client's network; this or one of the next: a single phase of your own")
            ->check(CLI::IsMember({"mlp", "lenet", "vit", "resnet18"}));
        cli.add_option("--p", o.p, "probability of dropping")->check(CLI::Range(0.0, 0.95));
        cli.add_option("--batch", o.batch, "images in the client's batch")->check(CLI::Range(1, 128));
        cli.add_option("--iters", o.iterations, "iterations of an attack, at most")->check(CLI::PositiveNumber);
        cli.add_option("--attack", o.attack, "one attacker only; frozen: masks stay as they start")
            ->check(CLI::IsMember({"all", "ig", "wiig", "dia", "frozen"}));
        cli.add_option("--lambda-mask", o.attacker.lambda.mask, "weight of the masks' prior")
            ->check(CLI::NonNegativeNumber)
            ->capture_default_str();
        cli.add_option("--lambda-tv", o.attacker.lambda.tv, "weight of total variation")
            ->check(CLI::NonNegativeNumber)
            ->capture_default_str();
        cli.add_option("--lr", o.attacker.lr, "of Adam")->check(CLI::PositiveNumber)->capture_default_str();
        cli.add_option("--stop-below", o.attacker.stop_below, "the loss that ends an attack")->capture_default_str();
        cli.add_option("--sign-grad", o.attacker.sign, "1: the sign of the image's gradient")->capture_default_str();
        cli.add_option("--dataset", o.dataset, "fashion-mnist; cifar10 with --paper")
            ->check(CLI::IsMember({"fashion-mnist", "mnist", "cifar10", "folder"}));
        cli.add_option("--only", o.only, "of the setting's phases those with this network")
            ->check(CLI::IsMember({"mlp", "lenet", "vit", "resnet18"}));
        cli.add_flag("--plan", o.plan, "print phases and sizes, run nothing");
      });
  return app::run([&] {
    app::Args a = args;
    if (a.setting == app::Setting::smoke && !a.seeds_given) a.seeds = 1;
    if (a.setting == app::Setting::paper && !a.seeds_given) a.seeds = 128;  // a victim each
    if (o.dataset.empty()) o.dataset = a.setting == app::Setting::paper ? "cifar10" : "fashion-mnist";
    if (o.plan) return print_plan(a, o), 0;
    return app::on_device(a, [&]<class D>(D) { return reproduce<D>(a, o); });
  });
}
