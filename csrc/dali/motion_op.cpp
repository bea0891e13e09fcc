#include "../kernels/motion.h"

#include "sample.h"

namespace vidssl {

template <typename Backend>
class MotionOp : public dali::Operator<Backend> {
 public:
  using dali::Operator<Backend>::Operator;

  bool SetupImpl(std::vector<dali::OutputDesc>& outputs, const dali::Workspace& ws) override {
    const auto& frames = ws.Input<Backend>(0);
    const int batch = frames.num_samples();
    outputs.resize(2);
    outputs[0] = {dali::TensorListShape<>(batch, 3), DALI_UINT32};
    outputs[1] = {dali::TensorListShape<>(batch, 3), DALI_UINT8};
    for (int i = 0; i < batch; ++i) {
      const float* source = source_of(ws, i);
      const FrameView view = frame_view(frames, i, static_cast<int>(source[0]), static_cast<int>(source[1]));
      const std::int64_t steps = view.frames > 0 ? view.frames - 1 : 0;
      outputs[0].shape.set_tensor_shape(
          i, dali::TensorShape<3>(steps, motion_cells(view.height), motion_cells(view.width)));
      outputs[1].shape.set_tensor_shape(i, dali::TensorShape<3>(view.frames, kThumb, kThumb));
    }
    return true;
  }

  void RunImpl(dali::Workspace& ws) override {
    const auto& frames = ws.Input<Backend>(0);
    auto &sad = ws.Output<Backend>(0), &thumb = ws.Output<Backend>(1);
    std::vector<MotionArgs> samples;
    for (int i = 0; i < frames.num_samples(); ++i) {
      const float* source = source_of(ws, i);
      samples.push_back({frame_view(frames, i, static_cast<int>(source[0]), static_cast<int>(source[1])),
                         static_cast<std::uint32_t*>(sad.raw_mutable_tensor(i)),
                         static_cast<std::uint8_t*>(thumb.raw_mutable_tensor(i))});
    }
    run_twin(ws, samples, Backend{}, motion_cpu, motion_cuda);
  }
};

DALI_REGISTER_OPERATOR(vidssl__Motion, MotionOp<dali::CPUBackend>, dali::CPU);
DALI_REGISTER_OPERATOR(vidssl__Motion, MotionOp<dali::GPUBackend>, dali::GPU);

DALI_SCHEMA(vidssl__Motion)
    .DocStr(R"(Measures motion.

Input: frames uint8 [F, 3 * rows / 2, cols] (planar YUV 4:2:0) or [F, H, W, 3] (RGB). Outputs: sad uint32
[F - 1, ceil(H / 16), ceil(W / 16)] and thumb uint8 [F, 16, 16]. The same bits as vidssl.ops.motion.)")
    .NumInput(1)
    .NumOutput(2)
    .AddArg("source", "float32 [16] per sample: height, width, chroma x, chroma y, YUV -> RGB [3, 4].", DALI_FLOAT_VEC,
            true);

}  // namespace vidssl
