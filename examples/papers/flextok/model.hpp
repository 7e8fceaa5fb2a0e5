// The networks of FlexTok (Bachmann et al. 2025) in the symbols
//
//   z0 = s mean(VAE(x))                       latent [B, C, H', W'], frozen; s makes its deviation 1
//   q  = FSQ(Linear(LN(encoder([patches | registers]))))     codes [B, K, levels], token i a function of registers <= i
//   r  = null?(nested?(Linear(q) + position)) condition: r[k:] = a learnt vector, then r = a learnt null with probability p
//   v  = decoder(z_t, r, t),  z_t = t e + (1 - t) z0,  L = mean |v - (e - z0)|^2
//
// t = 1 is noise. Images [B, 1, 32, 32] or [B, 3, 256, 256] in [-1, 1].
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/nn/dropout/nested.hpp>
#include <gradus/nn/dropout/sequence.hpp>

namespace flextok {
using namespace gradus;

struct Config {
  // VAE
  int64_t channels = 1, side = 32, latent = 4, factor = 4;  // factor: of each side
  int64_t vae_width = 16;
  // tokenizer
  int64_t p = 2, K = 16, D = 64, head = 16, encoder_depth = 2, decoder_depth = 3;
  std::vector<int64_t> levels{8, 5, 5, 5};
  std::string nested = "pow2";  // uniform, pow2, uniform_pow2, none
  bool causal = true;           // else the encoder's mask is full
  bool deterministic = false;   // the decoder predicts z0 from the tokens alone: the control of acceptance 7
  double p_null = 0.1, repa = 0;
  int64_t teacher = 64;  // features of REPA's teacher
  // autoregressive model
  int64_t ar_D = 96, ar_depth = 4, classes = 10;

  int64_t grid() const { return side / factor / p; }
  int64_t P() const { return grid() * grid(); }
  int64_t patch() const { return p * p * latent; }
  int64_t vocabulary() const {
    int64_t n = 1;
    for (const int64_t l : levels) n *= l;
    return n;
  }
  /// dN-dM at 256 x 256: widths 64 depth, 256 registers, 64,000 codes.
  static Config paper(int64_t encoder_depth, int64_t decoder_depth) {
    Config c;
    c.channels = 3, c.side = 256, c.latent = 16, c.factor = 8, c.vae_width = 128, c.K = 256, c.head = 64;
    c.encoder_depth = encoder_depth, c.decoder_depth = decoder_depth, c.D = 0;  // 0: 64 depth each
    c.levels = {8, 8, 8, 5, 5, 5}, c.classes = 1000, c.ar_D = 1664, c.ar_depth = 26, c.teacher = 1024;
    return c;
  }
  int64_t encoder_D() const { return D ? D : 64 * encoder_depth; }
  int64_t decoder_D() const { return D ? D : 64 * decoder_depth; }
};

/// Numbers in a block: attention 4 D^2, SwiGLU 3 D h with h = int(2 (4 D) / 3), modulation 2 x 6 D outputs with bias.
inline int64_t hidden_of(int64_t D) { return 2 * (4 * D) / 3; }
inline int64_t block_parameters(int64_t D, bool modulated) {
  return 4 * D * D + 3 * D * hidden_of(D) + (modulated ? 12 * D * (D + 1) : 0);
}

/// What a training step of the tokenizer takes, from the sizes alone: nothing is allocated.
struct Plan {
  int64_t encoder_blocks = 0, decoder_blocks = 0;  // parameters
  int64_t parameters = 0;                          // of the whole tokenizer, without REPA's projection
  double flops = 0;                                // a picture and step: forward, and backward as twice that
  double state_gb = 0;                             // weights, gradients, two moments, average, in float
  double activations_gb = 0;                       // a picture: about 12 D + 4 h numbers a token and block kept for backward
};
inline Plan plan(const Config& c) {
  const int64_t E = c.encoder_D(), D = c.decoder_D(), L = static_cast<int64_t>(c.levels.size()), n = c.patch();
  Plan p;
  p.encoder_blocks = c.encoder_depth * block_parameters(E, false);
  p.decoder_blocks = c.decoder_depth * block_parameters(D, true);
  p.parameters = p.encoder_blocks + p.decoder_blocks;
  p.parameters += E * (n + 1) + c.K * E + L * (E + 1);          // patches in, registers, codes out
  p.parameters += D * (L + 1) + c.K * D + 2 * D + D * (n + 1);  // codes in, positions, mask and null vectors, noisy patches in
  p.parameters += D * 257 + D * (D + 1) + 2 * D * (D + 1) + n * (D + 1);  // time, head
  const double N = static_cast<double>(c.P() + c.K);
  const auto blocks = [N](int64_t depth, int64_t width, bool modulated) {
    const double w = static_cast<double>(width), products = 2 * static_cast<double>(block_parameters(width, false)) * N;
    return static_cast<double>(depth) * (products + 4 * N * N * w + (modulated ? 24 * w * w : 0));
  };
  p.flops = 3 * (blocks(c.encoder_depth, E, false) + blocks(c.decoder_depth, D, true));
  p.state_gb = 20e-9 * static_cast<double>(p.parameters);
  const auto kept = [N](int64_t depth, int64_t w) {
    return 4e-9 * N * static_cast<double>(depth * (12 * w + 4 * hidden_of(w)));
  };
  p.activations_gb = kept(c.encoder_depth, E) + kept(c.decoder_depth, D);
  return p;
}

/// Images and latents [B, C, H', W']; conv 3 x 3 with SiLU, two strides of 2 and their mirror with nearest upsampling.
template <class T = float, class D = Cpu>
struct Vae {
  using value_type = T;
  using device_type = D;
  nn::Conv2d<T, D> e1, e2, e3, moments, d1, d2, d3, d4;
  Tensor<T, D> scale;  // of the latent, a buffer

  explicit Vae(const Config& c)
      : e1(c.channels, c.vae_width, 3, {.stride = 2, .padding = 1}),
        e2(c.vae_width, 2 * c.vae_width, 3, {.stride = 2, .padding = 1}),
        e3(2 * c.vae_width, 2 * c.vae_width, 3, {.padding = 1}),
        moments(2 * c.vae_width, 2 * c.latent, 1),
        d1(c.latent, 2 * c.vae_width, 3, {.padding = 1}),
        d2(2 * c.vae_width, 2 * c.vae_width, 3, {.padding = 1}),
        d3(2 * c.vae_width, c.vae_width, 3, {.padding = 1}),
        d4(c.vae_width, c.channels, 3, {.padding = 1}),
        scale(ones<T, D>({})) {}
  void visit(auto&& f) {
    f("e1", e1), f("e2", e2), f("e3", e3), f("moments", moments), f("d1", d1), f("d2", d2), f("d3", d3), f("d4", d4);
    f("scale", scale, nn::buffer);
  }
  /// Mean and log-variance, [B, C, H', W'] each.
  std::pair<Tensor<T, D>, Tensor<T, D>> posterior(const Tensor<T, D>& x) const {
    const auto m = moments(silu(e3(silu(e2(silu(e1(x)))))));
    const int64_t C = m.size(1) / 2;
    return {narrow(m, 1, 0, C), clamp(narrow(m, 1, C, C), -30, 20)};
  }
  Tensor<T, D> reconstruct(const Tensor<T, D>& z) const {
    const auto up = [](const Tensor<T, D>& h) { return interpolate(h, {.size = {h.size(2) * 2, h.size(3) * 2}}); };
    return d4(silu(d3(up(silu(d2(up(silu(d1(z)))))))));
  }
  Tensor<T, D> encode(const Tensor<T, D>& x) const { return posterior(x).first * scale; }
  Tensor<T, D> decode(const Tensor<T, D>& z) const { return reconstruct(z / scale); }
  /// L1 + 1e-4 KL, the latter summed over the latent.
  Tensor<T, D> loss(const Tensor<T, D>& x) const {
    const auto [mean, log_variance] = posterior(x);
    const auto z = mean + exp(0.5 * log_variance) * randn_like(mean);
    const int64_t B = x.size(0);
    return l1_loss(reconstruct(z), x) + 1e-4 * gaussian_kl(mean.reshape({B, -1}), log_variance.reshape({B, -1}));
  }
};

/// Pre-norm block of attention (QK-norm, scale 8 / head size, no bias) and SwiGLU; with `modulated` an adaLN-zero of its own
/// for patches and for registers. Norms have no weight and no bias.
template <class T = float, class D = Cpu>
struct Block {
  using value_type = T;
  using device_type = D;
  nn::MultiHeadAttention<T, D> attention;
  nn::GatedMlp<T, D> mlp;
  std::vector<nn::Linear<T, D>> modulation;  // none or one: D -> 2 x 6 D

  Block(int64_t C, int64_t head, bool modulated, bool causal = false)
      : attention(C, C / head,
                  {.qkv_bias = false,
                   .out_bias = false,
                   .causal = causal,
                   .qk_norm = nn::QkNorm::layer,
                   .scale = 8.0 / static_cast<double>(head)}),
        mlp(C, hidden_of(C)) {
    for (auto* l : {&attention.q, &attention.k, &attention.v, &attention.out, &mlp.gate, &mlp.up, &mlp.down})
      nn::init::xavier_uniform(l->weight);
    if (modulated) {
      modulation.emplace_back(C, 12 * C);
      nn::init::constant(modulation[0].weight, 0), nn::init::constant(modulation[0].bias, 0);
    }
  }
  void visit(auto&& f) { f("attention", attention), f("mlp", mlp), f("modulation", modulation); }
  static Tensor<T, D> norm(const Tensor<T, D>& x) { return layer_norm(x, Tensor<T, D>(), Tensor<T, D>(), 1e-5); }

  Tensor<T, D> forward(const Tensor<T, D>& x0, const nn::AttentionCall<T, D>& call = {}) const {
    const auto x = x0 + attention.forward(norm(x0), call);
    return x + mlp.forward(norm(x));
  }
  /// condition [B, D]; part [P + K] says which half of the modulation a position takes.
  Tensor<T, D> modulated(const Tensor<T, D>& x0, const Tensor<T, D>& condition, const Tensor<int64_t, D>& part) const {
    const int64_t B = x0.size(0), C = x0.size(2);
    const auto both = modulation[0].forward(silu(condition)).reshape({B, 2, 6 * C});
    const auto m = chunk(index_select(both, 1, part), 6, -1);  // gate_a, gate_m, shift_a, scale_a, shift_m, scale_m
    const auto x = x0 + m[0] * attention.forward(norm(x0) * (m[3] + 1) + m[2]);
    return x + m[1] * mlp.forward(norm(x) * (m[5] + 1) + m[4]);
  }
};

template <class T = float, class D = Cpu>
struct Tokenizer {
  using value_type = T;
  using device_type = D;
  Config c;
  // encoder
  nn::Linear<T, D> patch_in, to_code;
  Tensor<T, D> registers;  // [K, D]
  std::vector<Block<T, D>> encoder;
  nn::Fsq<T, D> fsq;
  // condition
  nn::Linear<T, D> from_code;
  nn::LearnedPosition<T, D> position;
  nn::NestedDropout<T, D> nested;
  nn::ConditionDropout<T, D> condition;
  // decoder
  nn::Linear<T, D> noisy_in;
  nn::TimeEmbedding<T, D> time;
  std::vector<Block<T, D>> decoder;
  nn::DiTFinal<T, D> head;
  std::vector<nn::Linear<T, D>> projection;  // REPA's perceptron: D -> 4 D -> 4 D -> teacher
  // not trained
  Tensor<T, D> grid_e, grid_d;  // 2D sine and cosine positions
  Tensor<bool, D> mask;         // of the encoder, (P + K) x (P + K), row = query
  Tensor<int64_t, D> part;      // 0 for patches, 1 for registers

  explicit Tokenizer(const Config& config)
      : c(config),
        patch_in(c.patch(), c.encoder_D()),
        to_code(c.encoder_D(), static_cast<int64_t>(c.levels.size())),
        registers(truncated_normal<T, D>({c.K, c.encoder_D()}, 0, 0.02, -0.04, 0.04)),
        fsq(c.levels),
        from_code(static_cast<int64_t>(c.levels.size()), c.decoder_D()),
        position(c.K, c.decoder_D()),
        nested(nn::NestedDropout<T, D>::tokens(c.K, c.decoder_D(), law(c.nested))),
        condition({c.K, c.decoder_D()}, c.p_null),
        noisy_in(c.patch(), c.decoder_D()),
        time(c.decoder_D(), 256, 1000, 256),
        head(c.decoder_D(), c.decoder_D(), c.patch()),
        grid_e(nn::sinusoidal_positions_2d<T, D>(c.grid(), c.grid(), c.encoder_D())),
        grid_d(nn::sinusoidal_positions_2d<T, D>(c.grid(), c.grid(), c.decoder_D())) {
    registers.requires_grad_();
    condition.null = normal<T, D>({c.decoder_D()}, 0, 0.02);  // one vector for all registers
    condition.null.requires_grad_();
    head.eps = 1e-5;
    for (auto* l : {&patch_in, &to_code, &from_code, &noisy_in}) nn::init::xavier_uniform(l->weight);
    for (int64_t i = 0; i < c.encoder_depth; ++i) encoder.emplace_back(c.encoder_D(), c.head, false);
    for (int64_t i = 0; i < c.decoder_depth; ++i) decoder.emplace_back(c.decoder_D(), c.head, true);
    if (c.repa > 0) {
      const int64_t C = c.decoder_D();
      projection.emplace_back(C, 4 * C), projection.emplace_back(4 * C, 4 * C), projection.emplace_back(4 * C, c.teacher);
    }
    mask = prefix_mask(c.K);
    std::vector<int64_t> half(static_cast<std::size_t>(c.P() + c.K), 1);
    for (int64_t i = 0; i < c.P(); ++i) half[static_cast<std::size_t>(i)] = 0;
    part = to_device<D>(from_vector<int64_t>(half));
  }
  void visit(auto&& f) {
    f("patch_in", patch_in), f("to_code", to_code), f("registers", registers), f("encoder", encoder);
    f("from_code", from_code), f("position", position), f("nested", nested), f("null", condition.null);
    f("condition_training", condition.training);
    f("noisy_in", noisy_in), f("time", time), f("decoder", decoder), f("head", head), f("projection", projection);
  }
  static nn::PrefixLaw law(const std::string& name) {
    return name == "pow2"           ? nn::PrefixLaw::pow2()
           : name == "uniform_pow2" ? nn::PrefixLaw::uniform_pow2()
                                    : nn::PrefixLaw::uniform();
  }
  /// "causal_last": every query sees all patches, register i also the registers up to i; patches see no register.
  Tensor<bool, D> prefix_mask(int64_t n) const {
    const int64_t P = c.P(), N = P + n;
    std::vector<int64_t> m(static_cast<std::size_t>(N * N));
    for (int64_t q = 0; q < N; ++q)
      for (int64_t k = 0; k < N; ++k) m[static_cast<std::size_t>(q * N + k)] = !c.causal || k < P || (q >= P && k <= q);
    return not_equal(to_device<D>(from_vector<int64_t>(m, {1, 1, N, N})), 0);
  }

  /// What is quantised: z0 [B, C, H', W'] -> [B, n, levels] for the first n registers; 0: all.
  Tensor<T, D> registers_of(const Tensor<T, D>& z0, int64_t n = 0) const {
    const int64_t B = z0.size(0), N = n ? n : c.K, C = c.encoder_D();
    const auto patches = patch_in(patchify(z0, c.p, c.p)) + grid_e;
    auto x = cat(std::vector<Tensor<T, D>>{patches, expand(unsqueeze(narrow(registers, 0, 0, N), 0), {B, N, C})}, 1);
    const auto m = n ? prefix_mask(n) : mask;
    for (const auto& b : encoder) x = b.forward(x, {.mask = m});
    return to_code(Block<T, D>::norm(narrow(x, 1, c.P(), N)));
  }
  Tensor<T, D> encode(const Tensor<T, D>& z0) const { return fsq(registers_of(z0)); }

  /// Codes [B, K, levels] -> the decoder's condition [B, K, D]. Training drops; `keep` > 0 keeps a prefix.
  Tensor<T, D> conditions(const Tensor<T, D>& q, int64_t keep = 0) const {
    auto r = position(from_code(q));
    if (keep > 0) r = nested.first(r, keep);
    else if (c.nested != "none") r = nested(r);
    if (!condition.training || condition.p == 0) return r;
    const auto dropped = less(rand<T, D>({q.size(0), 1, 1}), condition.p);
    return where(dropped, condition.null, r);
  }
  Tensor<T, D> null_conditions(int64_t B) const { return expand(condition.null, {B, c.K, c.decoder_D()}); }

  /// The velocity at z_t [B, C, H', W'], t [B]; `middle` receives the patches after block ceil(depth / 3).
  Tensor<T, D> velocity(const Tensor<T, D>& zt, const Tensor<T, D>& t, const Tensor<T, D>& r,
                        Tensor<T, D>* middle = nullptr) const {
    auto x = cat(std::vector<Tensor<T, D>>{noisy_in(patchify(zt, c.p, c.p)) + grid_d, r}, 1);
    const auto temb = time(t);
    for (std::size_t i = 0; i < decoder.size(); ++i) {
      x = decoder[i].modulated(x, temb, part);
      if (middle && i + 1 == (decoder.size() + 2) / 3) *middle = narrow(x, 1, 0, c.P());
    }
    return unpatchify(head(narrow(x, 1, 0, c.P()), temb), c.grid(), c.grid(), c.p, c.p);
  }
  /// The flow loss of given conditions, noise and levels.
  Tensor<T, D> loss_at(const Tensor<T, D>& z0, const Tensor<T, D>& r, const Tensor<T, D>& e, const Tensor<T, D>& t,
                       Tensor<T, D>* middle = nullptr) const {
    if (c.deterministic) return mse_loss(velocity(z0 * 0, t * 0 + 1, r, middle), z0);
    return mse_loss(velocity(nn::noised(z0, e, t), t, r, middle), nn::velocity(z0, e, t));
  }
  /// One training step's loss. features [B, P, teacher]: of the clean image, where repa > 0.
  Tensor<T, D> loss(const Tensor<T, D>& z0, const Tensor<T, D>& features = {}) const {
    const auto r = conditions(encode(z0));
    const auto t = nn::sample_levels<T, D>(z0.size(0), {.law = nn::LevelLaw::logit_normal, .stratified = true});
    Tensor<T, D> middle;
    const auto flow = loss_at(z0, r, randn_like(z0), t, c.repa > 0 ? &middle : nullptr);
    if (c.repa == 0) return flow;
    const auto h = projection[2](silu(projection[1](silu(projection[0](Block<T, D>::norm(middle))))));
    return flow - c.repa * mean(cosine_similarity(h, features, -1, 1e-6));
  }

  struct Sampling {
    int64_t keep = 0, steps = 20;  // keep 0: all tokens
    double guidance = 2;
    bool apg = false;
  };
  /// Latents from codes [B, K, levels] and noise z1 of the latents' shape.
  Tensor<T, D> detokenise(const Tensor<T, D>& q, const Tensor<T, D>& z1, const Sampling& s) const {
    const NoGrad guard;
    const int64_t B = q.size(0);
    const auto r = conditions(q, s.keep);
    if (c.deterministic) return velocity(z1 * 0, ones<T, D>({B}), r);
    if (s.guidance == 1)
      return nn::sample_flow<T, D>([&](const auto& z, const auto& t) { return velocity(z, t, r); }, z1, s.steps);
    const auto both = cat(std::vector<Tensor<T, D>>{r, null_conditions(B)}, 0);
    nn::ProjectedGuidance<T, D> apg{s.guidance, -0.5, 2.5 * std::sqrt(static_cast<double>(z1.numel() / B) / 16384)};
    return nn::sample_flow<T, D>(
        [&](const Tensor<T, D>& z, const Tensor<T, D>& t) {
          const auto v = velocity(cat(std::vector<Tensor<T, D>>{z, z}, 0), cat(std::vector<Tensor<T, D>>{t, t}, 0), both);
          const auto vc = narrow(v, 0, 0, B), vu = narrow(v, 0, B, B);
          return s.apg ? apg(vc, vu) : nn::guided(vc, vu, s.guidance);
        },
        z1, s.steps);
  }
};

/// p(y_i | y_<i, class): the tokens' autoregressive model.
template <class T = float, class D = Cpu>
struct Autoregressive {
  using value_type = T;
  using device_type = D;
  Config c;
  nn::Embedding<T, D> tokens, labels;
  Tensor<T, D> sos;
  nn::LearnedPosition<T, D> position;
  std::vector<Block<T, D>> blocks;
  nn::Linear<T, D> head;

  explicit Autoregressive(const Config& config)
      : c(config),
        tokens(c.vocabulary(), c.ar_D),
        labels(c.classes, c.ar_D),
        sos(uniform<T, D>({c.ar_D}, -0.1, 0.1)),
        position(c.K, c.ar_D),
        head(c.ar_D, c.vocabulary()) {
    sos.requires_grad_();
    nn::init::uniform(tokens.weight, -0.1, 0.1), nn::init::uniform(labels.weight, -0.1, 0.1);
    for (int64_t i = 0; i < c.ar_depth; ++i) blocks.emplace_back(c.ar_D, c.ar_D % 64 ? c.ar_D / 4 : 64, false, true);
  }
  void visit(auto&& f) {
    f("tokens", tokens), f("labels", labels), f("sos", sos), f("position", position), f("blocks", blocks), f("head", head);
  }
  /// Start of the sequence [B, 1, D]; the class counts where `with` [B] is 1.
  Tensor<T, D> start(const Tensor<int64_t, D>& y, const Tensor<T, D>& with) const {
    return unsqueeze(sos + labels(y) * unsqueeze(with, 1), 1);
  }
  /// Logits [B, K, V] of ids [B, K].
  Tensor<T, D> logits(const Tensor<int64_t, D>& ids, const Tensor<int64_t, D>& y, const Tensor<T, D>& with) const {
    auto x = position(cat(std::vector<Tensor<T, D>>{start(y, with), tokens(narrow(ids, 1, 0, c.K - 1))}, 1));
    for (const auto& b : blocks) x = b.forward(x);
    return head(Block<T, D>::norm(x));
  }
  Tensor<T, D> loss(const Tensor<int64_t, D>& ids, const Tensor<int64_t, D>& y) const {
    const auto with = cast<T>(greater_equal(rand<T, D>({ids.size(0)}), 0.1));
    return cross_entropy(logits(ids, y, with).reshape({-1, c.vocabulary()}), ids.reshape({-1}));
  }
  /// Token ids [B, K] for classes y [B]; one cache holds both branches of guidance.
  Tensor<int64_t, D> sample(const Tensor<int64_t, D>& y, double guidance, double temperature = 1) const {
    const NoGrad guard;
    const int64_t B = y.size(0);
    std::vector<nn::KVCache<T, D>> cache;
    for (const auto& b : blocks) cache.emplace_back(2 * B, b.attention.nkv, c.K, b.attention.hs);
    const auto twice = [](const auto& x) { return cat(std::vector<std::remove_cvref_t<decltype(x)>>{x, x}, 0); };
    auto x = start(twice(y), cat(std::vector<Tensor<T, D>>{ones<T, D>({B}), zeros<T, D>({B})}, 0));
    std::vector<Tensor<int64_t, D>> ids;
    for (int64_t i = 0; i < c.K; ++i) {
      x = x + narrow(position.weight, 0, i, 1);
      for (std::size_t k = 0; k < blocks.size(); ++k) x = blocks[k].forward(x, {.cache = &cache[k]});
      const auto l = head(Block<T, D>::norm(x)).reshape({2 * B, c.vocabulary()});
      const auto g = nn::guided(narrow(l, 0, 0, B), narrow(l, 0, B, B), guidance);
      ids.push_back(multinomial(softmax(g / temperature), 1));
      x = tokens(twice(ids.back()));
    }
    return cat(ids, 1);
  }
};

/// A small classifier: of metrics (its penultimate features, its guesses), and, another one, REPA's teacher.
template <class T = float, class D = Cpu>
struct Classifier {
  using value_type = T;
  using device_type = D;
  nn::Conv2d<T, D> c1, c2, c3;
  nn::Linear<T, D> f1, f2;
  explicit Classifier(int64_t channels = 1)
      : c1(channels, 16, 3, {.stride = 2, .padding = 1}),
        c2(16, 32, 3, {.stride = 2, .padding = 1}),
        c3(32, 64, 3, {.stride = 2, .padding = 1}),
        f1(1024, 64),
        f2(64, 10) {}
  void visit(auto&& f) { f("c1", c1), f("c2", c2), f("c3", c3), f("f1", f1), f("f2", f2); }
  Tensor<T, D> map(const Tensor<T, D>& x) const { return relu(c3(relu(c2(relu(c1(x)))))); }  // [B, 64, 4, 4]
  Tensor<T, D> features(const Tensor<T, D>& x) const { return relu(f1(map(x).reshape({x.size(0), -1}))); }
  Tensor<T, D> logits(const Tensor<T, D>& x) const { return f2(features(x)); }
};

/// |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2) of rows a, b [N, C].
inline double frechet(const Tensor<double>& a, const Tensor<double>& b) {
  const NoGrad guard;
  const auto moments = [](const Tensor<double>& x) {
    const auto m = mean(x, {0}, true), d = x - m;
    return std::pair{m, matmul(transpose(d, 0, 1), d) / static_cast<double>(x.size(0) - 1)};
  };
  const auto [m1, s1] = moments(a);
  const auto [m2, s2] = moments(b);
  const auto trace = [](const Tensor<double>& s) { return sum(s * eye<double>(s.size(0))).item(); };
  const auto e = eigh(s1);
  const auto root = matmul(e.vectors * sqrt(clamp(e.values, 0, 1e300)), transpose(e.vectors, 0, 1));
  const auto product = matmul(matmul(root, s2), root);
  const double cross = sum(sqrt(clamp(eigh((product + transpose(product, 0, 1)) * 0.5).values, 0, 1e300))).item();
  return sum(square(m1 - m2)).item() + trace(s1) + trace(s2) - 2 * cross;
}

}  // namespace flextok
