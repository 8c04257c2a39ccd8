"""Networks nobody here wrote, small and with random weights: `ARCHITECTURES[name]()` gives (model, batch)."""

from functools import partial

import monai.networks.nets as monai
import torch
import transformers as hf

IMAGE, TOKENS, VOCABULARY = 32, 12, 50
TEXT = dict(
    vocab_size=VOCABULARY, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager"
)
SLIM = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, num_labels=5)
NO_DROP = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def images(size=IMAGE, channels=3, dims=2, count=4):
    return {"pixel_values": torch.randn(count, channels, *[size] * dims)}


def tokens(count=3):
    return {"input_ids": torch.randint(3, VOCABULARY, (count, TOKENS))}


def vision(config, model, size=IMAGE, **options):
    made = model(config(num_labels=5, **options) if "num_labels" not in options else config(**options))
    return made, images(size)


def text(config, model, **options):
    return model(config(**TEXT | options)), tokens()


def causal(config, model, **options):
    return text(config, model, use_cache=False, **options)


def decoder(config, model, **options):
    sizes = {k: v for k, v in SLIM.items() if k != "num_labels"}
    return causal(config, model, num_key_value_heads=2, **sizes | options)


def t5():
    sizes = dict(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0, use_cache=False)
    model = hf.T5ForConditionalGeneration(hf.T5Config(**TEXT | sizes, decoder_start_token_id=0))
    return model, tokens() | {"decoder_input_ids": tokens()["input_ids"]}


def bart():
    sizes = dict(d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=48, decoder_ffn_dim=48)
    heads = dict(encoder_attention_heads=4, decoder_attention_heads=4, dropout=0.0, use_cache=False)
    model = hf.BartForConditionalGeneration(hf.BartConfig(**TEXT | sizes | heads, max_position_embeddings=32))
    return model, tokens() | {"decoder_input_ids": tokens()["input_ids"]}


def whisper():
    sizes = dict(d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=48, decoder_ffn_dim=48)
    heads = dict(
        encoder_attention_heads=4, decoder_attention_heads=4, num_mel_bins=8, dropout=0.0, use_cache=False
    )
    places = dict(max_source_positions=20, max_target_positions=32, decoder_start_token_id=1)
    model = hf.WhisperForConditionalGeneration(hf.WhisperConfig(**TEXT | sizes | heads | places))
    return model, {"input_features": torch.randn(2, 8, 40), "decoder_input_ids": tokens(2)["input_ids"]}


def wav2vec2():
    convs = dict(conv_dim=(16, 16), conv_stride=(5, 2), conv_kernel=(10, 3), num_conv_pos_embeddings=8)
    rest = dict(
        num_conv_pos_embedding_groups=4, num_feat_extract_layers=2, layerdrop=0.0, apply_spec_augment=False
    )
    drops = dict(
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
    )
    sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    return hf.Wav2Vec2ForCTC(hf.Wav2Vec2Config(**TEXT | convs | rest | drops | sizes)), {
        "input_values": torch.randn(2, 400)
    }


def clip():
    tower = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, projection_dim=16
    )
    words = tower | dict(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config = hf.CLIPConfig(
        text_config=words, vision_config=tower | dict(image_size=IMAGE, patch_size=8), projection_dim=16
    )
    config._attn_implementation = "eager"
    return hf.CLIPModel(config), tokens() | images(count=3)


def mamba():
    sizes = dict(
        hidden_size=32,
        state_size=4,
        num_hidden_layers=2,
        intermediate_size=64,
        time_step_rank=4,
        use_cache=False,
    )
    return hf.MambaForCausalLM(hf.MambaConfig(**TEXT | sizes)), tokens()


def gpt2(**options):
    sizes = dict(
        n_embd=32, n_layer=2, n_head=4, n_positions=32, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    return causal(hf.GPT2Config, hf.GPT2LMHeadModel, **sizes | options)


def mixtral():
    return decoder(hf.MixtralConfig, hf.MixtralForCausalLM, num_local_experts=2, num_experts_per_tok=1)


def volume(model, *shape, **options):
    return partial(_volume, model, shape, options)


def _volume(model, shape, options):
    return model(**options), (torch.randn(*shape),)


def diffusion():
    sizes = dict(
        channels=(8, 16),
        attention_levels=(False, True),
        num_res_blocks=1,
        num_head_channels=8,
        norm_num_groups=4,
    )
    model = monai.DiffusionModelUNet(spatial_dims=2, in_channels=1, out_channels=1, **sizes)
    for parameter in model.parameters():  # some start at zero, and would pass no gradient on
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model, (torch.randn(2, 1, 16, 16), torch.tensor([3, 40]))


STAGES = dict(embedding_size=8, hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1])
FOUR = dict(hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1])
WINDOWS = dict(
    image_size=IMAGE,
    patch_size=4,
    embed_dim=16,
    depths=[2, 2],
    num_heads=[2, 2],
    window_size=4,
    drop_path_rate=0.0,
)
TRANSFORMER = SLIM | NO_DROP | dict(image_size=IMAGE, patch_size=8, attn_implementation="eager")

ARCHITECTURES = {
    "ResNet": partial(vision, hf.ResNetConfig, hf.ResNetForImageClassification, **STAGES, layer_type="basic"),
    "ResNet (bottleneck)": partial(vision, hf.ResNetConfig, hf.ResNetForImageClassification, **STAGES),
    "RegNet": partial(vision, hf.RegNetConfig, hf.RegNetForImageClassification, **STAGES, groups_width=8),
    "BiT": partial(vision, hf.BitConfig, hf.BitForImageClassification, **STAGES, num_groups=4),
    "MobileNetV1": partial(
        vision, hf.MobileNetV1Config, hf.MobileNetV1ForImageClassification, depth_multiplier=0.25
    ),
    "MobileNetV2": partial(
        vision, hf.MobileNetV2Config, hf.MobileNetV2ForImageClassification, depth_multiplier=0.25
    ),
    "EfficientNet": partial(
        vision,
        hf.EfficientNetConfig,
        hf.EfficientNetForImageClassification,
        width_coefficient=0.25,
        depth_coefficient=0.3,
        hidden_dim=320,
        dropout_rate=0.0,
        drop_connect_rate=0.0,
    ),
    "ConvNeXt": partial(vision, hf.ConvNextConfig, hf.ConvNextForImageClassification, **FOUR),
    "ConvNeXtV2": partial(vision, hf.ConvNextV2Config, hf.ConvNextV2ForImageClassification, **FOUR),
    "PoolFormer": partial(vision, hf.PoolFormerConfig, hf.PoolFormerForImageClassification, **FOUR),
    "ViT": partial(vision, hf.ViTConfig, hf.ViTForImageClassification, **TRANSFORMER),
    "ViT (sdpa)": partial(
        vision, hf.ViTConfig, hf.ViTForImageClassification, **TRANSFORMER | {"attn_implementation": "sdpa"}
    ),
    "DeiT": partial(vision, hf.DeiTConfig, hf.DeiTForImageClassification, **TRANSFORMER),
    "BEiT": partial(vision, hf.BeitConfig, hf.BeitForImageClassification, **TRANSFORMER, drop_path_rate=0.0),
    "DINOv2": partial(vision, hf.Dinov2Config, hf.Dinov2ForImageClassification, **TRANSFORMER),
    "Swin": partial(vision, hf.SwinConfig, hf.SwinForImageClassification, **WINDOWS),
    "SwinV2": partial(vision, hf.Swinv2Config, hf.Swinv2ForImageClassification, **WINDOWS),
    "MobileViT": partial(
        vision,
        hf.MobileViTConfig,
        hf.MobileViTForImageClassification,
        image_size=64,
        size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 16, 16, 32],
        num_attention_heads=2,
        classifier_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
    ),
    "SegFormer": partial(
        vision,
        hf.SegformerConfig,
        hf.SegformerForSemanticSegmentation,
        size=64,
        hidden_sizes=[8, 16, 16, 32],
        depths=[1] * 4,
        num_attention_heads=[1, 2, 2, 4],
        decoder_hidden_size=16,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
        **NO_DROP,
    ),
    "BERT": partial(text, hf.BertConfig, hf.BertForMaskedLM, **SLIM | NO_DROP),
    "DistilBERT": partial(
        text,
        hf.DistilBertConfig,
        hf.DistilBertForSequenceClassification,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=48,
        dropout=0.0,
        attention_dropout=0.0,
        seq_classif_dropout=0.0,
    ),
    "ALBERT": partial(text, hf.AlbertConfig, hf.AlbertForMaskedLM, embedding_size=16, **SLIM | NO_DROP),
    "DeBERTaV2": partial(
        text,
        hf.DebertaV2Config,
        hf.DebertaV2ForSequenceClassification,
        **SLIM | NO_DROP,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_buckets=8,
        max_relative_positions=16,
    ),
    "GPT-2": gpt2,
    "OPT": partial(
        causal,
        hf.OPTConfig,
        hf.OPTForCausalLM,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=48,
        word_embed_proj_dim=32,
        max_position_embeddings=32,
        dropout=0.0,
    ),
    "T5": t5,
    "BART": bart,
    "Llama": partial(decoder, hf.LlamaConfig, hf.LlamaForCausalLM),
    "Mistral": partial(decoder, hf.MistralConfig, hf.MistralForCausalLM),
    "Qwen2": partial(decoder, hf.Qwen2Config, hf.Qwen2ForCausalLM),
    "Gemma": partial(decoder, hf.GemmaConfig, hf.GemmaForCausalLM, head_dim=8),
    "Mixtral": mixtral,
    "Mamba": mamba,
    "Whisper": whisper,
    "Wav2Vec2": wav2vec2,
    "CLIP": clip,
    "MONAI UNet": volume(
        monai.UNet,
        2,
        1,
        16,
        16,
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        channels=(4, 8, 16),
        strides=(2, 2),
        num_res_units=1,
    ),
    "MONAI UNet 3d": volume(
        monai.UNet,
        1,
        1,
        16,
        16,
        16,
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        channels=(4, 8, 16),
        strides=(2, 2),
    ),
    "MONAI DenseNet": volume(
        monai.DenseNet,
        2,
        1,
        32,
        32,
        spatial_dims=2,
        in_channels=1,
        out_channels=3,
        init_features=8,
        growth_rate=4,
        block_config=(2, 2),
    ),
    "MONAI SEResNet": volume(
        monai.SENet,
        2,
        3,
        32,
        32,
        spatial_dims=2,
        in_channels=3,
        block="se_resnet_bottleneck",
        layers=(1, 1, 1, 1),
        groups=1,
        reduction=16,
        num_classes=3,
        inplanes=16,
        downsample_kernel_size=1,
    ),
    "MONAI EfficientNet": volume(
        monai.EfficientNetBN,
        2,
        1,
        32,
        32,
        model_name="efficientnet-b0",
        pretrained=False,
        spatial_dims=2,
        in_channels=1,
        num_classes=3,
    ),
    "MONAI UNETR": volume(
        monai.UNETR,
        1,
        1,
        32,
        32,
        32,
        in_channels=1,
        out_channels=2,
        img_size=32,
        feature_size=4,
        hidden_size=24,
        mlp_dim=32,
        num_heads=4,
    ),
    "MONAI SwinUNETR": volume(
        monai.SwinUNETR,
        1,
        1,
        64,
        64,
        in_channels=1,
        out_channels=2,
        feature_size=12,
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 4),
        spatial_dims=2,
    ),
    "MONAI SegResNet": volume(
        monai.SegResNet, 2, 1, 16, 16, spatial_dims=2, init_filters=8, blocks_down=(1, 1), blocks_up=(1,)
    ),
    "MONAI AutoEncoder": volume(
        monai.AutoEncoder,
        2,
        1,
        16,
        16,
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=(4, 8),
        strides=(2, 2),
    ),
    "MONAI DiffusionModelUNet": diffusion,
}


def run(model, batch):
    """The floating tensors of the model's output."""
    return list(tensors(model(**batch) if isinstance(batch, dict) else model(*batch)))


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield from [value] if value.is_floating_point() else []
    elif isinstance(value, dict):
        for inner in value.values():
            yield from tensors(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from tensors(inner)
