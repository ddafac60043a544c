"""Every field there is, with its default. The other configs start from here."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The paper's best network on the embedded data set, at the paper's input size."""
    config = ConfigDict()
    config.seed = 0  # the initial weights, the order of the batches, the augmentation, dropout

    config.init_from = ""  # a workdir, or published weights (.safetensors), to start from
    config.frozen = ""  # such as "stem,layer1": weights whose names begin so are not trained

    config.model = ConfigDict()
    config.model.name = "dkse_net"  # or alexnet | vgg16 | vgg19 | resnet18 | resnet34 | resnet50 |
    # resnet101 | resnet152 | se_resnet50 | inception_v4, which read ops and dtype alone of these
    config.model.width = 32  # channels of the stem; the other layers are multiples of it
    config.model.positions = (6,)  # the paper's layer IDs that hold a block: any of 6, 9, 12
    config.model.attention = "dkse"  # the block: dkse | se | sk | none. se reads the reduction of
    # the fields below, sk kernel_sizes, dilations and reduction: it has its own gate and norms
    config.model.kernel_sizes = (1, 5)  # one branch for each
    config.model.dilations = (1, 1)  # one for each branch
    config.model.reduction = 4  # r: the gate's hidden layer has 1/r of the channels
    config.model.gate = "shared_sigmoid"  # shared_sigmoid | branch_sigmoid | selective_softmax
    config.model.branch_norm = "bn_relu"  # bn_relu | none
    config.model.norm_placement = "all"  # all | second_layer_only
    config.model.dropout_before_pool = 0.1
    config.model.dropout_after_pool = 0.2
    config.model.ops = "auto"  # auto | plain | fast: the form of the arithmetic, never its result
    config.model.dtype = "float32"  # float32 | bfloat16: of the activations; weights are float32
    config.model.remat = False  # True: keep what enters a layer alone for the backward pass, which
    # computes the rest again: less memory, more time, the same numbers to rounding

    config.data = ConfigDict()
    config.data.source = "synthetic"  # synthetic | folder | records | tfds
    # folder: the images; records: what dkse-pack made of them, a folder or gs:// or
    # s3://; tfds: its data_dir ("" is its own default)
    config.data.root = ""
    config.data.image_size = 299  # side in pixels of the square that the network trains on
    config.data.levels = False  # True: stretch each channel of a picture to black and white first
    config.data.normalisation = (
        "centred"  # centred | imagenet | inception: published weights want theirs
    )
    config.data.evaluation_scale = 1.0  # side of the square that it judges, in image_sizes
    config.data.classes = 0  # only so many classes, the first by name; 0 for all
    config.data.on_bad_image = "error"  # error: an unreadable image ends the run | skip
    config.data.max_bad_percent = 1.0  # skip: of a split; more unreadable images end the run too
    config.data.threads = 2  # that read and augment images
    config.data.folder = ConfigDict()
    config.data.folder.val_percent = 15.0  # of the groups of each class, where no split is given
    config.data.folder.test_percent = 15.0
    config.data.synthetic = ConfigDict()
    config.data.synthetic.kinds = 5  # 2 to 6
    config.data.synthetic.train_per_kind = 400
    config.data.synthetic.val_per_kind = 40
    config.data.synthetic.test_per_kind = 100
    config.data.tfds = ConfigDict()
    config.data.tfds.builder = ""  # such as "imagenet_r" or "my_art:1.0.0"
    config.data.tfds.class_of = "label"  # label | builder: each of several builders is a class,
    # as in "domainnet/clipart,domainnet/sketch"; label_key is not read then
    config.data.tfds.train_split = "train[:80%]"
    config.data.tfds.val_split = "train[80%:]"
    config.data.tfds.test_split = "test"
    config.data.tfds.image_key = "image"
    config.data.tfds.label_key = "label"

    config.augment = ConfigDict()
    config.augment.enabled = True  # False: every view is the largest centred square
    config.augment.crop_area_min = 0.3  # smallest share of the picture that a random crop keeps
    config.augment.crop_area_max = 1.0  # largest share
    config.augment.crop_ratio = 4 / 3  # crops are up to this much wider or taller than square
    config.augment.flip = 0.5  # probability of a left-right flip
    config.augment.brightness = 0.3  # +- share
    config.augment.contrast = 0.3  # +- share
    config.augment.saturation = 0.3  # +- share
    config.augment.tint = 0.1  # +- share on each colour channel: the paper's colour
    config.augment.greyscale = 0.1  # probability of dropping colour

    config.train = ConfigDict()
    config.train.batch_size = 32  # over all devices and micro-batches
    config.train.accumulate = 1  # micro-batches, one after another, whose mean gradient makes a
    # step: less memory. A batch norm normalises each by its own statistics, and so differs from
    # one large batch; a network without norms or dropout does not
    config.train.epochs = 30.0
    config.train.label_smoothing = 0.1
    config.train.evaluate_every_epochs = 1.0  # on val; a checkpoint is saved with it
    config.train.checkpoint_every_steps = 200

    config.devices = ConfigDict()
    config.devices.fsdp = 1  # devices that share one copy of weights and optimiser state; it
    # divides the number of devices, and each group of so many has a copy. The same numbers

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # sgd (with momentum) | adamw
    config.optimizer.learning_rate = 0.1  # at the end of the warm-up
    config.optimizer.warmup_percent = 5.0  # of all steps, linear; then cosine to 0
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.weight_decay = 0.05  # adamw, on kernels
    config.optimizer.pointwise_l2 = 1e-4  # times the sum of squares of the pointwise kernels
    config.optimizer.clip_norm = 1.0  # of the whole gradient; 0 for none

    config.eval = ConfigDict()
    config.eval.batch_size = 64
    config.eval.bootstrap_samples = 1000

    config.log = ConfigDict()
    config.log.progress_seconds = 10.0  # between two progress lines
    config.log.tensorboard = True  # event files too, where tensorboardX is installed
    return config
