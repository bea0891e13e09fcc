#include "../kernels/plan.h"

#include <cuda_runtime_api.h>

#include "../kernels/motion.h"
#include "../kernels/spec.h"
#include "sample.h"

namespace vidssl {

template <typename Backend>
class PlanOp : public dali::Operator<Backend> {
 public:
  explicit PlanOp(const dali::OpSpec& spec)
      : dali::Operator<Backend>(spec),
        spec_(parse_spec(spec.GetArgument<std::string>("plan"))),
        packed_(
            pack_tables(spec_, spec.GetRepeatedArgument<int>("arrangements"), spec.GetRepeatedArgument<int>("labels"))),
        train_(spec.GetArgument<bool>("train")),
        seed_(static_cast<std::uint64_t>(spec.GetArgument<std::int64_t>("plan_seed"))) {
    tables_.set_pinned(false);  // plain host memory, because pinned memory needs a driver
    scratch_.set_pinned(false);
    PlanSpec host = spec_;
    take_tables(host, packed_.data());
    check_tables(host);
  }

  bool SetupImpl(std::vector<dali::OutputDesc>& outputs, const dali::Workspace& ws) override {
    const int batch = ws.Input<Backend>(0).num_samples();
    outputs.resize(6);
    outputs[0] = uniform(batch, {spec_.slots, spec_.times}, DALI_INT32);
    outputs[1] = uniform(batch, {spec_.slots, spec_.times, 4}, DALI_FLOAT);
    outputs[2] = uniform(batch, {spec_.slots}, DALI_UINT8);
    outputs[3] = uniform(batch, {spec_.slots, spec_.times, 3, 4}, DALI_FLOAT);
    outputs[4] = uniform(batch, {}, DALI_INT64);
    outputs[5] = uniform(batch, {}, DALI_INT32);
    return true;
  }

  void RunImpl(dali::Workspace& ws) override {
    const auto &sad = ws.Input<Backend>(0), &thumb = ws.Input<Backend>(1);
    const auto& place = ws.ArgumentInput("place");
    const int batch = sad.num_samples();
    prepare(ws, thumb);
    std::vector<PlanArgs> samples;
    for (int i = 0; i < batch; ++i) {
      const float* source = source_of(ws, i);
      check(place.type() == DALI_INT64 && place.tensor_shape(i).num_elements() == 2, "place: it must be int64 [2]");
      const auto* at = static_cast<const std::int64_t*>(place.raw_tensor(i));
      check(at[0] >= 0 && at[0] <= 0xFFFFFFFF, "place: sample ", i, " has epoch=", at[0], ": take 0 <= epoch < 2**32");
      PlanArgs args{};
      args.frames = frames_of(thumb, i);
      args.height = static_cast<int>(source[0]);
      args.width = static_cast<int>(source[1]);
      check_window(spec_, args.frames, args.height, args.width);
      check(sad.type() == DALI_UINT32 &&
                sad.tensor_shape(i) ==
                    dali::TensorShape<3>(args.frames - 1, motion_cells(args.height), motion_cells(args.width)),
            "sad: sample ", i, " does not have the shape that motion returns for its frames; pass `sad` of motion");
      args.sad = static_cast<const std::uint32_t*>(sad.raw_tensor(i));
      args.thumb = static_cast<const std::uint8_t*>(thumb.raw_tensor(i));
      if (plan_reads_sad(spec_)) give_scratch(spec_, args, static_cast<std::uint64_t*>(scratch_.raw_mutable_tensor(i)));
      args.seed = seed_;
      args.epoch = static_cast<std::uint32_t>(at[0]);
      args.sample = static_cast<std::uint64_t>(at[1]);
      args.train = train_;
      args.frame = static_cast<std::int32_t*>(ws.Output<Backend>(0).raw_mutable_tensor(i));
      args.box = static_cast<float*>(ws.Output<Backend>(1).raw_mutable_tensor(i));
      args.flip = static_cast<std::uint8_t*>(ws.Output<Backend>(2).raw_mutable_tensor(i));
      args.color = static_cast<float*>(ws.Output<Backend>(3).raw_mutable_tensor(i));
      args.label = static_cast<std::int64_t*>(ws.Output<Backend>(4).raw_mutable_tensor(i));
      args.status = static_cast<std::int32_t*>(ws.Output<Backend>(5).raw_mutable_tensor(i));
      samples.push_back(args);
    }
    const PlanSpec& spec = spec_;
    run_twin(
        ws, samples, Backend{}, [&spec](const PlanArgs* args, int count) { plan_cpu(spec, args, count); },
        [&spec](const PlanArgs* args, int count, void* stream) { plan_cuda(spec, args, count, stream); });
  }

 private:
  static int frames_of(const dali::TensorList<Backend>& thumb, int sample) {
    const auto& shape = thumb.tensor_shape(sample);
    check(thumb.type() == DALI_UINT8 && shape.sample_dim() == 3 && shape[0] > 0 && shape[0] <= kMaxFrames &&
              shape[1] == kThumb && shape[2] == kThumb,
          "thumb: sample ", sample, " is not uint8 [1..", kMaxFrames, ", 16, 16]; pass `thumb` of motion");
    return static_cast<int>(shape[0]);
  }

  // Uploads the tables once to memory that the twin can read, and allocates the scratch for a batch.
  void prepare(dali::Workspace& ws, const dali::TensorList<Backend>& thumb) {
    if (tables_.num_samples() == 0) {
      tables_.set_order(ws.output_order());
      tables_.Resize(dali::uniform_list_shape(1, {static_cast<std::int64_t>(packed_.size())}), DALI_UINT8);
      copy(tables_.raw_mutable_tensor(0), packed_.data(), static_cast<std::int64_t>(packed_.size()), ws);
      take_tables(spec_, tables_.raw_tensor(0));
    }
    if (!plan_reads_sad(spec_)) return;
    dali::TensorListShape<> shape(thumb.num_samples(), 1);
    for (int i = 0; i < thumb.num_samples(); ++i) {
      const float* source = source_of(ws, i);
      shape.set_tensor_shape(i, dali::TensorShape<1>(plan_scratch(frames_of(thumb, i), static_cast<int>(source[0]),
                                                                  static_cast<int>(source[1]))));
    }
    scratch_.set_order(ws.output_order());
    scratch_.Resize(shape, DALI_UINT64);
  }

  static void copy(void* to, const void* from, std::int64_t bytes, dali::Workspace& ws) {
    if constexpr (std::is_same_v<Backend, dali::GPUBackend>) {
      CUDA_CALL(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, ws.stream()));
    } else {
      std::memcpy(to, from, static_cast<std::size_t>(bytes));
    }
  }

  PlanSpec spec_;
  std::vector<std::uint8_t> packed_;
  bool train_;
  std::uint64_t seed_;
  dali::TensorList<Backend> tables_, scratch_;
};

DALI_REGISTER_OPERATOR(vidssl__Plan, PlanOp<dali::CPUBackend>, dali::CPU);
DALI_REGISTER_OPERATOR(vidssl__Plan, PlanOp<dali::GPUBackend>, dali::GPU);

DALI_SCHEMA(vidssl__Plan)
    .DocStr(R"(Draws the frames that a tuple shows, their crops and colours, and its label.

Inputs: sad and thumb of vidssl.motion. Outputs: frame int32 [K, T], box float32 [K, T, 4], flip uint8 [K],
color float32 [K, T, 3, 4], label int64, status int32. The same integers as vidssl.ops.plan.)")
    .NumInput(2)
    .NumOutput(6)
    .AddArg("source", "float32 [16] per sample: height, width, chroma x, chroma y, YUV -> RGB [3, 4].", DALI_FLOAT_VEC,
            true)
    .AddArg("place", "int64 [2] per sample: epoch, position.", DALI_INT_VEC, true)
    .AddArg("plan", "PlanSpec.text.", DALI_STRING)
    .AddArg("arrangements", "int [P * K * T], the table.", DALI_INT_VEC)
    .AddArg("labels", "int [P].", DALI_INT_VEC)
    .AddOptionalArg("plan_seed", "Seed of every draw.", std::int64_t{0})
    .AddOptionalArg("train", "False: centre crop, no flip, no jitter, no colour augmentation.", true);

}  // namespace vidssl
