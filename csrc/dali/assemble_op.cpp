#include "../kernels/assemble.h"

#include <algorithm>

#include "../kernels/spec.h"
#include "sample.h"

namespace vidssl {
namespace {

dali::DALIDataType dali_type(DType type) {
  switch (type) {
    case DType::float32:
      return DALI_FLOAT;
    case DType::float16:
      return DALI_FLOAT16;
    case DType::bfloat16:
      return DALI_UINT16;  // DALI has no bfloat16; uint16 holds its bits
    default:
      return DALI_UINT8;
  }
}

}  // namespace

template <typename Backend>
class AssembleOp : public dali::Operator<Backend> {
 public:
  explicit AssembleOp(const dali::OpSpec& spec) : dali::Operator<Backend>(spec) {
    const auto size = spec.GetRepeatedArgument<int>("size");
    check(size.size() == 2, "size: it has ", size.size(), " numbers; take (height, width)");
    check_picture("size", size[0], size[1]);
    spec_.height = size[0];
    spec_.width = size[1];
    spec_.dtype = parse_dtype(spec.GetArgument<std::string>("output_type"));
    spec_.stream = true;  // DALI reuses the memory of its outputs
    spec_.layout = spec.GetArgument<bool>("channels_last") ? Layout::kthwc : Layout::kcthw;
  }

  bool SetupImpl(std::vector<dali::OutputDesc>& outputs, const dali::Workspace& ws) override {
    const auto& frame = ws.Input<Backend>(1);
    const int batch = frame.num_samples();
    check(frame.sample_dim() == 2, "frame: it must be int32 [K, T]");
    if (batch > 0) check_shown(frame.tensor_shape(0)[0], frame.tensor_shape(0)[1]);
    spec_.slots = batch > 0 ? static_cast<int>(frame.tensor_shape(0)[0]) : 0;
    spec_.times = batch > 0 ? static_cast<int>(frame.tensor_shape(0)[1]) : 0;
    expect(ws.Input<Backend>(1), "frame", DALI_INT32, {spec_.slots, spec_.times});
    expect(ws.Input<Backend>(2), "box", DALI_FLOAT, {spec_.slots, spec_.times, 4});
    expect(ws.Input<Backend>(3), "flip", DALI_UINT8, {spec_.slots});
    expect(ws.Input<Backend>(4), "color", DALI_FLOAT, {spec_.slots, spec_.times, 3, 4});
    const dali::TensorShape<> shape = spec_.layout == Layout::kcthw
                                          ? dali::TensorShape<>{spec_.slots, 3, spec_.times, spec_.height, spec_.width}
                                          : dali::TensorShape<>{spec_.slots, spec_.times, spec_.height, spec_.width, 3};
    outputs.resize(1);
    outputs[0] = uniform(batch, shape, dali_type(spec_.dtype));
    return true;
  }

  void RunImpl(dali::Workspace& ws) override {
    const auto& frames = ws.Input<Backend>(0);
    auto& out = ws.Output<Backend>(0);
    std::vector<AssembleArgs> samples;
    for (int i = 0; i < frames.num_samples(); ++i) {
      const float* source = source_of(ws, i);
      AssembleArgs args{};
      args.frames = frame_view(frames, i, static_cast<int>(source[0]), static_cast<int>(source[1]));
      check(args.frames.frames > 0, "frames: sample ", i, " has no frames; give it at least one");
      args.space.chroma_x = source[2];
      args.space.chroma_y = source[3];
      std::copy(source + 4, source + kSourceItems, args.space.to_rgb);
      args.frame = static_cast<const std::int32_t*>(ws.Input<Backend>(1).raw_tensor(i));
      args.box = static_cast<const float*>(ws.Input<Backend>(2).raw_tensor(i));
      args.flip = static_cast<const std::uint8_t*>(ws.Input<Backend>(3).raw_tensor(i));
      args.color = static_cast<const float*>(ws.Input<Backend>(4).raw_tensor(i));
      args.out = out.raw_mutable_tensor(i);
      samples.push_back(args);
    }
    const AssembleSpec& spec = spec_;
    run_twin(
        ws, samples, Backend{}, [&spec](const AssembleArgs* args, int count) { assemble_cpu(spec, args, count); },
        [&spec](const AssembleArgs* args, int count, void* stream) { assemble_cuda(spec, args, count, stream); });
  }

 private:
  static void expect(const dali::TensorList<Backend>& input, const char* name, dali::DALIDataType type,
                     const dali::TensorShape<>& shape) {
    check(input.type() == type, name, ": it has type ", input.type(), "; give it type ", type);
    for (int i = 0; i < input.num_samples(); ++i)
      check(dali::TensorShape<>(input.tensor_shape(i)) == shape, name, ": sample ", i, " has shape ",
            input.tensor_shape(i), "; it must be ", shape, " as in the plan");
  }

  AssembleSpec spec_{};
};

DALI_REGISTER_OPERATOR(vidssl__Assemble, AssembleOp<dali::CPUBackend>, dali::CPU);
DALI_REGISTER_OPERATOR(vidssl__Assemble, AssembleOp<dali::GPUBackend>, dali::GPU);

DALI_SCHEMA(vidssl__Assemble)
    .DocStr(R"(Gathers, resizes, crops, mirrors, colours, normalises and permutes in one pass.

Inputs: frames uint8 [F, 3 * rows / 2, cols] or [F, H, W, 3]; a plan: frame int32 [K, T], box float32 [K, T, 4],
flip uint8 [K], color float32 [K, T, 3, 4]. Output: [K, 3, T, h, w], or [K, T, h, w, 3] if channels_last. The same bits
as vidssl.ops.assemble.)")
    .NumInput(5)
    .NumOutput(1)
    .AddArg("source", "float32 [16] per sample: height, width, chroma x, chroma y, YUV -> RGB [3, 4].", DALI_FLOAT_VEC,
            true)
    .AddArg("size", "(height, width) of the output.", DALI_INT_VEC)
    .AddOptionalArg<std::string>("output_type", "float32, float16, bfloat16 (given as its bits, uint16) or uint8.",
                                 "float32")
    .AddOptionalArg("channels_last", "[K, T, h, w, 3] instead of [K, 3, T, h, w].", false);

}  // namespace vidssl
